use core::ffi::{CStr, c_char, c_int};
use skipstone_runtime::{EngineError, InputError, LoadError, SelfTestError};

/// What a function says of its work. `skipstone_status_text` has it in words.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SkipstoneStatus {
    /// Done.
    Ok = 0,
    /// A pointer is null.
    Null = 1,
    /// A pointer is not aligned for what it points to; memory and models start at a multiple of SKIPSTONE_ALIGNMENT.
    Misaligned = 2,
    /// The memory is too small.
    Memory = 3,
    /// The bytes are no packed model.
    NotAModel = 4,
    /// The model has another format version: pack it again.
    Version = 5,
    /// The model is cut short, or longer than its header says.
    Length = 6,
    /// The model is damaged: its checksum does not fit.
    Checksum = 7,
    /// The model is whole, but a record of it cannot be run; `skipstone inspect` names it.
    Invalid = 8,
    /// The model's weights are laid out for another core: pack it for this one.
    Kernel = 9,
    /// The library was built for another model, without an operator that this one needs.
    Operator = 10,
    /// The input has another length than the model's.
    Input = 11,
    /// The room for results is too small.
    Room = 12,
    /// There is no class or test vector of this number.
    Index = 13,
    /// The self test failed: a layer or the scores are not the host's.
    Differs = 14,
    /// Pictures of this size cannot become the model's input.
    Picture = 15,
    /// Something else failed.
    Failed = 16,
}

use SkipstoneStatus as Status;

impl Status {
    const ALL: [Self; 17] = [
        Self::Ok,
        Self::Null,
        Self::Misaligned,
        Self::Memory,
        Self::NotAModel,
        Self::Version,
        Self::Length,
        Self::Checksum,
        Self::Invalid,
        Self::Kernel,
        Self::Operator,
        Self::Input,
        Self::Room,
        Self::Index,
        Self::Differs,
        Self::Picture,
        Self::Failed,
    ];

    fn text(self) -> &'static CStr {
        match self {
            Self::Ok => c"done",
            Self::Null => c"a pointer is null",
            Self::Misaligned => c"a pointer is not aligned: memory and models start at a multiple of 16",
            Self::Memory => c"the memory is too small",
            Self::NotAModel => c"not a packed model",
            Self::Version => c"the model has another format version: pack it again",
            Self::Length => c"the model is cut short, or longer than its header says",
            Self::Checksum => c"the model is damaged: its checksum does not fit",
            Self::Invalid => c"a record of the model cannot be run: skipstone inspect names it",
            Self::Kernel => c"the model is laid out for another core: pack it for this one",
            Self::Operator => c"the library was built for another model and lacks an operator of this one",
            Self::Input => c"the input has another length than the model's",
            Self::Room => c"the room for results is too small",
            Self::Index => c"there is no class or test vector of this number",
            Self::Differs => c"the self test failed: what was computed is not what the host computes",
            Self::Picture => c"pictures of this size cannot become the model's input",
            Self::Failed => c"failed",
        }
    }
}

/// What a status means, in English, without a period; of numbers that are none, "unknown status".
#[unsafe(no_mangle)]
pub extern "C" fn skipstone_status_text(status: c_int) -> *const c_char {
    let known = Status::ALL.into_iter().find(|known| *known as c_int == status);
    known.map_or(c"unknown status", Status::text).as_ptr()
}

impl From<LoadError> for Status {
    fn from(error: LoadError) -> Self {
        match error {
            LoadError::NotAModel => Self::NotAModel,
            LoadError::Version { .. } => Self::Version,
            LoadError::Misaligned => Self::Misaligned,
            LoadError::Length { .. } => Self::Length,
            LoadError::Checksum { .. } => Self::Checksum,
            LoadError::Invalid { .. } => Self::Invalid,
            _ => Self::Failed,
        }
    }
}

impl From<EngineError> for Status {
    fn from(error: EngineError) -> Self {
        match error {
            EngineError::ArenaTooSmall { .. } => Self::Memory,
            EngineError::ArenaMisaligned => Self::Misaligned,
            EngineError::NoKernel { .. } => Self::Kernel,
            EngineError::NoOperator { .. } => Self::Operator,
            _ => Self::Failed,
        }
    }
}

impl From<InputError> for Status {
    fn from(_: InputError) -> Self {
        Self::Input
    }
}

impl From<SelfTestError> for Status {
    fn from(error: SelfTestError) -> Self {
        match error {
            SelfTestError::Room { .. } => Self::Room,
            SelfTestError::Input(error) => error.into(),
            SelfTestError::Layer(_) | SelfTestError::Scores => Self::Differs,
            _ => Self::Failed,
        }
    }
}

/// The status of work that ends early where something fails.
pub(crate) fn status_of(work: impl FnOnce() -> Result<(), Status>) -> Status {
    match work() {
        Ok(()) => Status::Ok,
        Err(status) => status,
    }
}
