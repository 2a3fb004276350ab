//! What can go wrong, and what to do about it.

use lighthouse_telemetry_core::catalog::CatalogError;
use lighthouse_telemetry_core::mapping::Diagnostic;
use thiserror::Error;

/// The engine cannot be set up.
#[derive(Debug, Error)]
pub enum EngineError {
    /// The compiler or its runtime refuses this machine or these settings.
    #[error("the WebAssembly engine cannot be set up on this machine: {0}")]
    Setup(String),
    /// The contract's functions cannot be offered.
    #[error("the WebAssembly engine cannot offer the contract {contract}: {reason}")]
    Contract {
        /// Version of the contract.
        contract: &'static str,
        /// Why not.
        reason: String,
    },
    /// No thread for the deadline.
    #[error("the thread that watches over deadlines does not start: {0}")]
    Ticker(std::io::Error),
}

/// A component cannot be compiled ahead of time.
#[derive(Debug, Error)]
pub enum PrecompileError {
    /// The compiler does not know the target.
    #[error("there is no compiler for the target '{target}': {reason}")]
    Target {
        /// The target's triple.
        target: String,
        /// Why not.
        reason: String,
    },
    /// The bytes are no component.
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// A mapper cannot be used.
#[derive(Debug, Error)]
pub enum LoadError {
    /// Not WebAssembly at all, or a core module.
    #[error("this is no WebAssembly component but {found}: {advice}", advice = advice(found))]
    NotAComponent {
        /// What it is.
        found: &'static str,
    },
    /// The file ends too early.
    #[error("the component is cut off after {length} bytes: copy the file again")]
    Truncated {
        /// How long it is, in bytes.
        length: usize,
    },
    /// The bytes are not valid, or use what the host does not offer.
    #[error("the component is not valid: {0}")]
    Invalid(String),
    /// There is not enough memory to compile it.
    #[error("there is not enough memory to compile the component")]
    NoMemory,
    /// Native code of another version, machine or setting.
    #[error("the native code does not fit this program: {0}")]
    OtherCode(String),
    /// A component of another world.
    #[error(
        "the component exports no '{wanted}' interface: build it for the world 'span-mapper' of the contract"
    )]
    OtherWorld {
        /// The interface that is looked for.
        wanted: &'static str,
    },
    /// A contract that this host does not speak.
    #[error(
        "the mapper was built for contract {found}, this host speaks {spoken}: rebuild the mapper or change \
         the host's version"
    )]
    UnknownContract {
        /// Version that the mapper exports.
        found: String,
        /// Versions that the host speaks.
        spoken: String,
    },
    /// An import that no mapper has.
    #[error(
        "the mapper imports '{0}', which the host does not offer: a mapper has the import 'log', WASI 0.2 with nothing \
         in it, and no other"
    )]
    ForeignImport(String),
    /// It starts with more than the host ever gives.
    #[error(
        "the mapper wants {wanted} {what} before it has done anything, and {limit} is the most: build it with less"
    )]
    TooLarge {
        /// Of what.
        what: &'static str,
        /// How much it wants.
        wanted: u64,
        /// How much there is.
        limit: u64,
    },
    /// The functions have other types than the contract's.
    #[error("the mapper's functions are not those of contract {contract}: {reason}")]
    OtherTypes {
        /// Version of the contract.
        contract: &'static str,
        /// What differs.
        reason: String,
    },
    /// The mapper refuses its configuration.
    #[error("the mapper refuses its configuration: {0}")]
    ConfigureFailed(Rejection),
    /// The mapper did not get through `configure`.
    #[error("the mapper fails in 'configure': {0}")]
    Configure(MapError),
    /// Two instances with the same configuration say different things.
    #[error(
        "the mapper describes itself differently each time: 'configure' must be a function of its argument"
    )]
    ConfigureUnstable,
    /// The description cannot be used.
    #[error("the mapper's description cannot be used: {0}")]
    Description(#[from] BadDescription),
    /// The mapper fails on an object that has nothing but a name.
    #[error("the mapper fails on an empty subject: {0}")]
    Smoke(MapError),
}

fn advice(found: &str) -> &'static str {
    if found == "a core module" {
        "make it one with `lighthouse-telemetry mapper component`"
    } else {
        "give the .wasm file of a component"
    }
}

/// A description that cannot be used.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum BadDescription {
    /// A field or a source makes no sense.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// More than the host allows.
    #[error("it has {found} {what}, more than the {limit} that the host allows")]
    TooMany {
        /// What there is too much of.
        what: &'static str,
        /// How many there are.
        found: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A text that is longer than the host allows.
    #[error("its {what} has {found} bytes, more than the {limit} that the host allows")]
    TooLong {
        /// What the text is.
        what: &'static str,
        /// Its length, in bytes.
        found: usize,
        /// How long it may be.
        limit: usize,
    },
    /// A group, version or kind with what no such name has.
    #[error("it names the {what} {found:?}: names have letters, digits, hyphens and single dots")]
    NotAName {
        /// What the name is of.
        what: &'static str,
        /// The name.
        found: String,
    },
    /// Secrets are never watched.
    #[error("it watches Secrets, which the host never reads for a mapper")]
    Secrets,
    /// An annotation outside of what a mapper may set.
    #[error("it asks for the annotation '{key}', which does not start with any of {allowed}")]
    Annotation {
        /// The annotation's key.
        key: String,
        /// What it may start with.
        allowed: String,
    },
    /// An optional feature that this host does not have.
    #[error("it needs the feature '{0}', which this host does not offer: use a newer host")]
    Feature(String),
}

/// A mapping gave nothing.
#[derive(Debug, Error)]
pub enum MapError {
    /// The mapper says that it cannot.
    #[error("{0}")]
    Rejected(Rejection),
    /// The mapper's code failed.
    #[error("the mapper's code trapped: {0}")]
    Trap(String),
    /// Too many instructions.
    #[error("the mapper ran for more than {fuel} instructions")]
    OutOfFuel {
        /// The limit.
        fuel: u64,
    },
    /// Too long, though within its instructions.
    #[error("the mapper ran for longer than {0:?}")]
    Deadline(std::time::Duration),
    /// Too much memory.
    #[error("the mapper wanted more than {limit} bytes of memory")]
    OutOfMemory {
        /// The limit, in bytes.
        limit: usize,
    },
    /// Too large a table.
    #[error("the mapper wanted a table of more than {limit} elements")]
    TableTooLarge {
        /// The limit.
        limit: usize,
    },
    /// Too deep a recursion.
    #[error("the mapper's stack overflowed")]
    StackOverflow,
    /// More than the host is ready to take over.
    #[error("the mapper returned more than {limit} bytes")]
    TooMuchOutput {
        /// The limit, in bytes.
        limit: usize,
    },
    /// What it handed over is no value of the contract: addresses outside of its memory, cases that there are not, text
    /// that is not UTF-8.
    #[error("what the mapper handed over cannot be read: {0}")]
    Unreadable(String),
    /// The result breaks a rule of the contract.
    #[error("the mapper's result breaks the contract: {0}")]
    BadOutput(#[from] BadOutput),
    /// No sandbox.
    #[error("no sandbox for the mapper: {0}")]
    Sandbox(String),
}

/// What a mapper says when it cannot.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Rejection {
    /// The operator's text is wrong.
    #[error("configuration: {0}")]
    Configuration(Located),
    /// The subject cannot be mapped.
    #[error("subject, at '{pointer}': {message}", pointer = .0.pointer, message = .0.message)]
    Subject(Diagnostic),
    /// An expression failed on this subject.
    #[error("expression: {0}")]
    Evaluation(Located),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A message about the operator's text, and where in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Located {
    /// The message.
    pub message: String,
    /// Line, from 1; 0 if unknown.
    pub line: u32,
    /// Column, from 1; 0 if unknown.
    pub column: u32,
}

impl std::fmt::Display for Located {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (self.line, self.column) {
            (0, _) => formatter.write_str(&self.message),
            (line, 0) => write!(formatter, "line {line}: {}", self.message),
            (line, column) => write!(formatter, "line {line}, column {column}: {}", self.message),
        }
    }
}

/// A result that breaks a rule of the contract.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum BadOutput {
    /// Two trees of one run.
    #[error("two trees have the run '{0}'")]
    RunTwice(String),
    /// A tree that hangs nowhere.
    #[error("the tree of run '{0}' has no parent")]
    NoParent(String),
    /// A tree without a service.
    #[error("the tree of run '{0}' has no service name")]
    NoService(String),
    /// The main span's key is its place.
    #[error("the main span has the key '{0}', not the empty one")]
    MainKey(String),
    /// A child without identity.
    #[error("child {0} has no key")]
    NoKey(usize),
    /// Two children of one key.
    #[error("two children have the key '{0}'")]
    KeyTwice(String),
    /// Identities are joined by newlines.
    #[error("the key or run {0:?} contains a newline")]
    Newline(String),
    /// A child below one that does not come before it.
    #[error("child {child} is under child {under}, which does not come before it")]
    Under {
        /// Place of the child.
        child: usize,
        /// The place it names.
        under: u32,
    },
    /// A span without a name.
    #[error("the span '{0}' has no name")]
    NoName(String),
    /// An attribute without a key.
    #[error("an attribute of the span '{0}' has no key")]
    NoAttributeKey(String),
    /// A number that is none.
    #[error("the attribute '{0}' is not a finite number")]
    NotFinite(String),
}
