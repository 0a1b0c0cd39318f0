//! What a user's own script does to the user's own keys, in one step with the memory of it.

use std::{
    hash::{DefaultHasher, Hash, Hasher},
    sync::OnceLock,
};

use dtx_core::error::StoreError;

use crate::{
    error::invalid,
    keys::slot_of,
    scripts::{Call, Lua},
};

/// Where the user's code stands in a script of ours.
const PLACE: &str = "--EFFECT--";

/// A script of the user's in Lua: it decides, and changes the user's keys.
///
/// It finds its keys in `KEYS` and its arguments in `ARGV`, as any script of Redis does. It says
/// **no** by returning a text, which is the reason, or `false`; whatever else it returns, and
/// nothing at all, is a yes. **A script decides before it changes anything**: Redis takes nothing
/// back, neither what was done before a no nor what was done before an error.
///
/// It is part of the program, so that no data ever become code:
///
/// ```
/// use dtx_store_redis::RedisScript;
///
/// static TAKE: RedisScript = RedisScript::new(
///     r#"
///     local left = tonumber(redis.call("GET", KEYS[1]) or "0") - tonumber(ARGV[1])
///     if left < 0 then
///         return "not enough money"
///     end
///     redis.call("SET", KEYS[1], left)
///     "#,
/// );
/// ```
#[derive(Debug)]
pub struct RedisScript {
    code: &'static str,
    finish: OnceLock<Lua>,
    once: OnceLock<Lua>,
}

/// A handler that has changed nothing here.
pub(crate) static NOTHING: RedisScript = RedisScript::new("");

impl RedisScript {
    /// A script with this code, which the server checks when it first runs.
    pub const fn new(code: &'static str) -> Self {
        Self { code, finish: OnceLock::new(), once: OnceLock::new() }
    }

    /// The script that writes a claimed row together with the effect.
    pub(crate) fn finish(&'static self) -> &'static Lua {
        self.finish.get_or_init(|| self.within(include_str!("lua/finish.lua")))
    }

    /// The script that remembers the effect by a name.
    pub(crate) fn once(&'static self) -> &'static Lua {
        self.once.get_or_init(|| self.within(include_str!("lua/once.lua")))
    }

    fn within(&self, ours: &str) -> Lua {
        Lua::new(ours.replacen(PLACE, self.code, 1))
    }
}

/// A script with its keys and arguments.
#[derive(Clone, Debug)]
pub struct RedisEffect {
    script: &'static RedisScript,
    keys: Vec<Vec<u8>>,
    arguments: Vec<Vec<u8>>,
}

impl RedisEffect {
    /// A script without keys and arguments yet.
    pub fn of(script: &'static RedisScript) -> Self {
        Self { script, keys: Vec::new(), arguments: Vec::new() }
    }

    /// Its next key. Every key that the script touches must be named, and on a cluster they all
    /// have the hash tag that the store is [`beside`](crate::RedisStore::beside).
    #[must_use]
    pub fn key(mut self, key: impl AsRef<[u8]>) -> Self {
        self.keys.push(key.as_ref().to_vec());
        self
    }

    /// Its next argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<[u8]>) -> Self {
        self.arguments.push(argument.as_ref().to_vec());
        self
    }

    pub(crate) fn script(&self) -> &'static RedisScript {
        self.script
    }

    /// An error when a key is not in this slot.
    pub(crate) fn check(&self, slot: u16, operation: &'static str) -> Result<(), StoreError> {
        if self.keys.iter().all(|key| slot_of(key) == slot) {
            return Ok(());
        }
        let context = "a key of the script is in another slot of the cluster than the memory of \
            it: give all keys one hash tag, and give the participant the store beside that tag";
        Err(invalid(operation, context))
    }

    /// Tells it from other effects. A difference between two programs costs a run of the script.
    pub(crate) fn name(&self) -> String {
        let mut hasher = DefaultHasher::new();
        (self.script.code, &self.keys, &self.arguments).hash(&mut hasher);
        format!("{:016x}", hasher.finish())
    }

    /// Puts keys and arguments behind those of ours.
    pub(crate) fn push(self, call: &mut Call) {
        self.keys.into_iter().for_each(|key| call.push_key(key));
        self.arguments.into_iter().for_each(|argument| call.push(argument));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static ONE: RedisScript = RedisScript::new("return 1");
    static TWO: RedisScript = RedisScript::new("return 2 --EFFECT--");

    #[test]
    fn the_code_is_put_into_ours_as_it_is() {
        for script in [&TWO, &ONE] {
            for lua in [script.finish(), script.once()] {
                let whole = format!("local function effect(KEYS, ARGV)\n{}\nend", script.code);
                assert!(lua.code().contains(&whole), "{}", lua.code());
            }
        }
    }

    #[test]
    fn the_name_is_of_script_keys_and_arguments() {
        let effect = || RedisEffect::of(&ONE);
        let name = effect().key("a").arg("b").name();
        assert_eq!(name, effect().key("a").arg("b").name());
        assert_eq!(name.len(), 16);
        for other in [
            RedisEffect::of(&TWO).key("a").arg("b"),
            effect().key("a").key("b"),
            effect().key("ab"),
            effect().arg("a").arg("b"),
            effect().key("a").arg("c"),
        ] {
            assert_ne!(name, other.name());
        }
    }

    #[test]
    fn every_key_must_be_in_the_slot() {
        let slot = slot_of(b"{pay}x");
        let good = RedisEffect::of(&ONE).key("{pay}a").key("b{pay}");
        assert!(good.check(slot, "commit").is_ok());
        let error = good.key("{bill}a").check(slot, "commit").expect_err("another slot");
        assert!(error.to_string().contains("hash tag"), "{error}");
    }
}
