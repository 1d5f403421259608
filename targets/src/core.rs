//! Cores: what a model is packed for and a program is compiled for.

/// Where Debian's C library for aarch64 lies, for the emulator's user mode.
pub const AARCH64_ROOT: &str = "/usr/aarch64-linux-gnu";

/// A core, or a family that runs the same programs equally well. Its number is its code in a packed model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum Core {
    /// Any core: weights that every program reads.
    #[default]
    Generic,
    /// Cortex-M0, M0+ and M23.
    CortexM0,
    /// Cortex-M3, and M33 without the DSP extension.
    CortexM3,
    /// Cortex-M4.
    CortexM4,
    /// Cortex-M7.
    CortexM7,
    /// Cortex-M33 with the DSP extension.
    CortexM33,
    /// Cortex-M55 and M85.
    CortexM55,
    /// aarch64 with NEON.
    Neon,
    /// aarch64 with dot products.
    Dotprod,
    /// x86-64.
    X86,
}

struct Row {
    core: Core,
    name: &'static str,
    title: &'static str,
    processors: &'static str,
    triple: Option<&'static str>,
    extension: Option<&'static str>,
    emulated_board: Option<&'static str>,
    emulated_cpus: &'static [&'static str],
}

/// A microcontroller's core.
const fn micro(core: Core, [name, title, processors, triple, board]: [&'static str; 5]) -> Row {
    let (extension, triple, emulated_board) = (None, Some(triple), Some(board));
    Row { core, name, title, processors, triple, extension, emulated_board, emulated_cpus: &[] }
}

const fn with(extension: &'static str, row: Row) -> Row {
    Row { extension: Some(extension), ..row }
}

const AARCH64: &str = "aarch64-unknown-linux-gnu";
const V7EM: &str = "thumbv7em-none-eabihf";
const V8M: &str = "thumbv8m.main-none-eabihf";

const fn large(core: Core, [name, title, processors]: [&'static str; 3], triple: Option<&'static str>) -> Row {
    Row { core, name, title, processors, triple, extension: None, emulated_board: None, emulated_cpus: &[] }
}

/// In the order of their codes. Programs for Armv6-M run on the emulated M3, which has more RAM than any emulated M0.
const ROWS: [Row; 10] = [
    large(Core::Generic, ["generic", "any core", "runs everywhere"], None),
    micro(Core::CortexM0, ["cortex-m0", "Cortex-M0", "Cortex-M0, M0+, M23", "thumbv6m-none-eabi", "mps2-an385"]),
    micro(
        Core::CortexM3,
        ["cortex-m3", "Cortex-M3", "Cortex-M3, M33 without DSP extension", "thumbv7m-none-eabi", "mps2-an385"],
    ),
    with("dsp", micro(Core::CortexM4, ["cortex-m4", "Cortex-M4", "Cortex-M4", V7EM, "mps2-an386"])),
    with("dsp", micro(Core::CortexM7, ["cortex-m7", "Cortex-M7", "Cortex-M7", V7EM, "mps2-an500"])),
    with(
        "dsp",
        micro(Core::CortexM33, ["cortex-m33", "Cortex-M33", "Cortex-M33 with DSP extension", V8M, "mps2-an505"]),
    ),
    with("mve", micro(Core::CortexM55, ["cortex-m55", "Cortex-M55", "Cortex-M55, M85", V8M, "mps3-an547"])),
    Row {
        emulated_cpus: &["cortex-a53", "cortex-a72"],
        ..large(Core::Neon, ["neon", "aarch64", "aarch64: Cortex-A53, A72"], Some(AARCH64))
    },
    Row {
        emulated_cpus: &["cortex-a76"],
        ..large(Core::Dotprod, ["dotprod", "aarch64", "aarch64 with dot products: Cortex-A76"], Some(AARCH64))
    },
    large(Core::X86, ["x86", "x86-64", "x86-64"], None),
];

impl Core {
    /// All cores, in the order of their codes.
    pub const ALL: [Self; 10] = {
        let mut all = [Self::Generic; 10];
        let mut code = 0;
        while code < all.len() {
            all[code] = ROWS[code].core;
            code += 1;
        }
        all
    };

    fn row(self) -> &'static Row {
        &ROWS[self as usize]
    }

    /// The core of a code, if there is one.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.get(usize::from(code)).copied()
    }

    /// The core of a name, if there is one.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|core| core.name() == name)
    }

    /// The name on command lines.
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The name in sentences and tables.
    pub fn title(self) -> &'static str {
        self.row().title
    }

    /// The processors that it stands for.
    pub fn processors(self) -> &'static str {
        self.row().processors
    }

    /// The compiler's target; `None` where it is the host's, or any.
    pub fn triple(self) -> Option<&'static str> {
        self.row().triple
    }

    /// The extension whose kernels its programs have: `dsp`, dual 16-bit multiply-accumulates (SMLAD), or `mve`, Helium.
    pub fn extension(self) -> Option<&'static str> {
        self.row().extension
    }

    /// The extension of which a build must be told by the feature of this name, because the compiler's target does not tell.
    pub fn feature(self) -> Option<&'static str> {
        self.extension().filter(|_| self.triple() == Some(V8M))
    }

    /// Name of the emulated board on which programs for a microcontroller's core are run.
    pub(crate) fn emulated_board_name(self) -> Option<&'static str> {
        self.row().emulated_board
    }

    /// The processors that the emulator's user mode has, by its names.
    pub fn emulated_cpus(self) -> &'static [&'static str] {
        self.row().emulated_cpus
    }

    /// Compiler targets of all cores but the host's, each once.
    pub fn triples() -> Vec<&'static str> {
        let mut triples: Vec<_> = Self::ALL.into_iter().filter_map(Self::triple).collect();
        triples.dedup();
        triples
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_stand_at_their_codes_and_names_are_unique() {
        for (code, core) in Core::ALL.into_iter().enumerate() {
            assert_eq!((core as usize, Core::from_code(code as u8)), (code, Some(core)));
            assert_eq!(Core::named(core.name()), Some(core));
        }
        assert_eq!((Core::from_code(10), Core::named("cortex-m")), (None, None));
    }

    #[test]
    fn only_armv8_m_must_be_told_of_its_extension() {
        let told = Core::ALL.into_iter().filter_map(|core| Some((core, core.feature()?)));
        assert_eq!(told.collect::<Vec<_>>(), [(Core::CortexM33, "dsp"), (Core::CortexM55, "mve")]);
        assert_eq!(Core::triples().len(), 5);
    }
}
