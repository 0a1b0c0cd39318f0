//! The scripts. Each is one atomic step on one hash tag; everything that it needs comes as keys
//! and arguments.

use std::{borrow::Cow, sync::LazyLock};

use redis::{Cmd, Script};

use crate::{keys::Place, link::Request};

/// A script and the name that servers know it by.
#[derive(Debug)]
pub(crate) struct Lua {
    code: Cow<'static, str>,
    hash: String,
}

impl Lua {
    pub(crate) fn new(code: impl Into<Cow<'static, str>>) -> Self {
        let code = code.into();
        let hash = Script::new(&code).get_hash().to_owned();
        Self { code, hash }
    }

    pub(crate) fn code(&self) -> &str {
        &self.code
    }
}

macro_rules! scripts {
    ($($name:ident = $file:literal;)*) => {
        $(pub(crate) static $name: LazyLock<Lua> =
            LazyLock::new(|| Lua::new(include_str!(concat!("lua/", $file))));)*
    };
}

scripts! {
    ACQUIRE = "acquire.lua";
    BEGIN = "begin.lua";
    COMMIT = "commit.lua";
    FORGET = "forget.lua";
    FORGET_KEY = "forget_key.lua";
    FORGET_ONCE = "forget_once.lua";
    NOW = "now.lua";
    OLD = "old.lua";
    OPEN = "open.lua";
    READ_ROWS = "read_rows.lua";
    RELEASE = "release.lua";
    RENEW = "renew.lua";
    RESERVE_KEY = "reserve_key.lua";
    SCAN = "scan.lua";
    TAKE_KEY = "take_key.lua";
    VOID = "void.lua";
    WRITE_ROWS = "write_rows.lua";
}

/// A run of a script.
#[derive(Debug)]
pub(crate) struct Call {
    slot: u16,
    script: &'static Lua,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl Call {
    pub(crate) fn new(script: &'static Lua, place: &Place) -> Self {
        Self { slot: place.slot, script, keys: Vec::new(), arguments: Vec::new() }
    }

    pub(crate) fn key(mut self, key: Vec<u8>) -> Self {
        self.keys.push(key);
        self
    }

    pub(crate) fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.push(argument);
        self
    }

    pub(crate) fn push(&mut self, argument: impl AsRef<[u8]>) {
        self.arguments.push(argument.as_ref().to_vec());
    }

    pub(crate) fn push_key(&mut self, key: Vec<u8>) {
        self.keys.push(key);
    }

    pub(crate) fn request(self) -> Request {
        let mut command = Cmd::with_capacity(
            3 + self.keys.len() + self.arguments.len(),
            self.arguments.iter().map(Vec::len).sum(),
        );
        command.arg("EVALSHA").arg(&self.script.hash).arg(self.keys.len());
        for part in self.keys.iter().chain(&self.arguments) {
            command.arg(part.as_slice());
        }
        Request { slot: self.slot, command, script: Some(self.script) }
    }
}
