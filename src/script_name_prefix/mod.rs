//! PLACEHOLDER docs.

mod script_name;

pub use self::script_name::ScriptName;
