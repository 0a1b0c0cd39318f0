//! What a participant offers, as a type.

use serde::{Serialize, de::DeserializeOwned};

/// One thing that a participant offers. The same type names it where it is called and where it is
/// carried out, so that both agree on the input and the output.
///
/// ```
/// use dtx_core::{pattern::Pattern, transaction::{Action, Transaction}};
///
/// struct Greet;
/// impl Action for Greet {
///     const NAME: &'static str = "greet";
///     type Input = String;
///     type Output = ();
/// }
///
/// let transaction = Transaction::builder(Pattern::Saga)
///     .call::<Greet>("greeter", "hello".to_owned())
///     .build()?;
/// assert_eq!(transaction.operations()[0].name().as_str(), "greet");
/// # Ok::<(), dtx_core::transaction::DefinitionError>(())
/// ```
pub trait Action {
    /// Its name, by the rule of [`name`](crate::name).
    const NAME: &'static str;
    /// The version of its input and output; raised when they change.
    const VERSION: u32 = 1;
    /// What it is given, as JSON.
    type Input: Serialize + DeserializeOwned;
    /// What it gives back, as JSON.
    type Output: Serialize + DeserializeOwned;
}
