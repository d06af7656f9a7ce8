//! As much of ELF as tells what a program needs of its machine (System V ABI, chapters 4 and 5, and the supplements
//! of the processors).

/// Byte order of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    Little,
    Big,
}

/// How floating point numbers are passed to functions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Float {
    Hard,
    Soft,
    /// There is but one way on this processor.
    Only,
}

/// What stands in the headers.
#[derive(Debug)]
pub(crate) struct Elf {
    pub(crate) bits: u8,
    pub(crate) order: Order,
    /// `e_machine`.
    pub(crate) machine: u16,
    pub(crate) float: Float,
    /// The program asks for a dynamic loader.
    pub(crate) interpreter: bool,
    /// Shared libraries it needs.
    pub(crate) libraries: usize,
    /// Symbol tables and sections of debug information.
    pub(crate) not_stripped: Vec<String>,
}

pub(crate) const EM_MIPS: u16 = 8;
pub(crate) const EM_ARM: u16 = 40;
pub(crate) const EM_X86_64: u16 = 62;
pub(crate) const EM_AARCH64: u16 = 183;
pub(crate) const EM_RISCV: u16 = 243;

const PT_DYNAMIC: u64 = 2;
const PT_INTERP: u64 = 3;
const PT_MIPS_ABIFLAGS: u64 = 0x7000_0003;
const DT_NEEDED: u64 = 1;
const SHT_SYMTAB: u64 = 2;
const EF_ARM_ABI_FLOAT_SOFT: u64 = 0x200;
const EF_ARM_ABI_FLOAT_HARD: u64 = 0x400;
const EF_RISCV_FLOAT_ABI: u64 = 0x6;
/// `fp_abi` of MIPS_abiflags: `Val_GNU_MIPS_ABI_FP_SOFT`.
const MIPS_ABI_FP_SOFT: u8 = 3;
/// Where `fp_abi` stands there.
const MIPS_FP_ABI_OFFSET: usize = 7;

impl Elf {
    pub(crate) fn parse(bytes: &[u8]) -> Self {
        assert_eq!(&bytes[..4], b"\x7fELF", "this is no ELF file");
        let file = File::of(bytes);
        let word = file.word();
        // Offsets from here on: entry point, program headers and section headers have the size of a word.
        let flags = file.number(24 + 3 * word, 4);
        let segments = file.table(24 + word, 24 + 3 * word + 6);
        let sections = file.table(24 + 2 * word, 24 + 3 * word + 10);
        let machine = u16::try_from(file.number(18, 2)).unwrap();
        Self {
            bits: if word == 8 { 64 } else { 32 },
            order: file.order,
            machine,
            float: file.float(machine, flags, &segments),
            interpreter: file.segment(&segments, PT_INTERP).is_some(),
            libraries: file.libraries(&segments),
            not_stripped: file.left_over(&sections, 24 + 3 * word + 14),
        }
    }
}

/// The bytes, and how numbers are read from them.
struct File<'a> {
    bytes: &'a [u8],
    order: Order,
}

impl<'a> File<'a> {
    fn of(bytes: &'a [u8]) -> Self {
        let order = match bytes[5] {
            1 => Order::Little,
            2 => Order::Big,
            other => panic!("unknown byte order {other}"),
        };
        Self { bytes, order }
    }

    /// Bytes of an address.
    fn word(&self) -> usize {
        match self.bytes[4] {
            1 => 4,
            2 => 8,
            other => panic!("unknown class {other}"),
        }
    }

    fn number(&self, offset: usize, size: usize) -> u64 {
        let bytes = self.bytes[offset..offset + size].iter();
        let join = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match self.order {
            Order::Little => bytes.rev().fold(0, join),
            Order::Big => bytes.fold(0, join),
        }
    }

    fn address(&self, offset: usize) -> usize {
        usize::try_from(self.number(offset, self.word())).unwrap()
    }

    /// Where each entry of a table begins, given where the table's offset and its entry size (with the count after
    /// it) stand.
    fn table(&self, offset_at: usize, size_at: usize) -> Vec<usize> {
        let start = self.address(offset_at);
        let size = usize::try_from(self.number(size_at, 2)).unwrap();
        let count = usize::try_from(self.number(size_at + 2, 2)).unwrap();
        (0..count).map(|index| start + index * size).collect()
    }

    /// The content of the first segment of a kind.
    fn segment(&self, segments: &[usize], kind: u64) -> Option<&'a [u8]> {
        let entry = *segments
            .iter()
            .find(|entry| self.number(**entry, 4) == kind)?;
        let (offset_at, size_at) = if self.word() == 8 { (8, 32) } else { (4, 16) };
        let (offset, size) = (
            self.address(entry + offset_at),
            self.address(entry + size_at),
        );
        Some(&self.bytes[offset..offset + size])
    }

    fn libraries(&self, segments: &[usize]) -> usize {
        let Some(dynamic) = self.segment(segments, PT_DYNAMIC) else {
            return 0;
        };
        let inner = File {
            bytes: dynamic,
            order: self.order,
        };
        let word = self.word();
        (0..dynamic.len() / (2 * word))
            .filter(|index| inner.number(index * 2 * word, word) == DT_NEEDED)
            .count()
    }

    fn float(&self, machine: u16, flags: u64, segments: &[usize]) -> Float {
        match machine {
            EM_ARM => match flags & (EF_ARM_ABI_FLOAT_SOFT | EF_ARM_ABI_FLOAT_HARD) {
                EF_ARM_ABI_FLOAT_HARD => Float::Hard,
                EF_ARM_ABI_FLOAT_SOFT => Float::Soft,
                other => panic!("ARM flags {flags:#x} name no float ABI ({other:#x})"),
            },
            EM_MIPS => {
                let abi = self
                    .segment(segments, PT_MIPS_ABIFLAGS)
                    .expect("no MIPS ABI flags");
                if abi[MIPS_FP_ABI_OFFSET] == MIPS_ABI_FP_SOFT {
                    Float::Soft
                } else {
                    Float::Hard
                }
            }
            EM_RISCV if flags & EF_RISCV_FLOAT_ABI == 0 => Float::Soft,
            EM_RISCV => Float::Hard,
            _ => Float::Only,
        }
    }

    /// Names of what `strip` would have taken out; `names_at` is where the index of the table of names stands.
    fn left_over(&self, sections: &[usize], names_at: usize) -> Vec<String> {
        let names = usize::try_from(self.number(names_at, 2)).unwrap();
        let offset_at = if self.word() == 8 { 24 } else { 16 };
        let Some(names) = sections.get(names) else {
            return Vec::new();
        };
        let names = self.address(names + offset_at);
        let name = |section: usize| {
            let start = names + usize::try_from(self.number(section, 4)).unwrap();
            let text = self.bytes[start..].split(|byte| *byte == 0).next().unwrap();
            String::from_utf8_lossy(text).into_owned()
        };
        sections
            .iter()
            .map(|section| (name(*section), self.number(section + 4, 4)))
            .filter(|(name, kind)| *kind == SHT_SYMTAB || name.starts_with(".debug"))
            .map(|(name, _)| name)
            .collect()
    }
}
