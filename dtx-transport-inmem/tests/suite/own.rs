//! What only this transport promises.
