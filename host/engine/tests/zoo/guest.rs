//! Builds mappers that no SDK would build: a few lines of WebAssembly text around values at known places of the memory,
//! laid out as the canonical ABI has them.

use std::sync::LazyLock;

use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// Where values begin. What is below is nobody's.
const FIRST: u32 = 1024;
/// Where the host's arguments go.
const HEAP: u32 = 1 << 20;
/// Pages of memory from the start.
const PAGES: u32 = 32;

/// The smoke test's subject is shorter than this, that of [`crate::subject`] is longer.
const SHORT: u32 = 100;

/// A world for mappers, and the name of the interface that a mapper exports.
pub struct World {
    resolve: Resolve,
    world: WorldId,
    mapper: String,
}

const CONTRACT_TEXT: &str = include_str!("../../../../wit/v0.1.0/mapper.wit");

impl World {
    /// The contract's; or one that this text describes, which includes it.
    pub fn new(including: Option<&str>) -> Self {
        Self::of(CONTRACT_TEXT, including)
    }

    /// The contract's, if it were of another version.
    pub fn of_version(version: &str) -> Self {
        let package = |version| format!("package lighthouse:span-mapper@{version};");
        let text = CONTRACT_TEXT.replace(&package("0.1.0"), &package(version));
        assert_ne!(text, CONTRACT_TEXT);
        Self::of(&text, None)
    }

    fn of(contract: &str, including: Option<&str>) -> Self {
        let mut resolve = Resolve::default();
        let package = resolve.push_source("mapper.wit", contract).unwrap();
        let mapper = resolve.packages[package].name.interface_id("mapper");
        let world = match including {
            None => resolve.select_world(&[package], Some("span-mapper")),
            Some(text) => {
                let package = resolve.push_source("including.wit", text).unwrap();
                resolve.select_world(&[package], None)
            }
        };
        Self {
            world: world.unwrap(),
            resolve,
            mapper,
        }
    }
}

static CONTRACT: LazyLock<World> = LazyLock::new(|| World::new(None));

/// A mapper in the making. By itself it watches Pods and says of none that it is its own.
pub struct Guest {
    values: Vec<u8>,
    world: &'static World,
    /// What it imports beside what the contract has.
    pub imports: &'static str,
    /// Globals, tables and functions beside those of the contract.
    pub parts: String,
    /// Pages of memory that it starts with.
    pub pages: u32,
    realloc: String,
    configure: String,
    map: String,
}

impl Guest {
    pub fn new() -> Self {
        let mut guest = Self {
            values: Vec::new(),
            world: &CONTRACT,
            imports: "",
            parts: String::new(),
            pages: PAGES,
            realloc: String::new(),
            configure: String::new(),
            map: String::new(),
        };
        let pod = Watch::of("Pod").put(&mut guest);
        guest.describe("1", &[pod], false);
        guest.map = format!("(i32.const {})", guest.put(&[0; 24]));
        guest.realloc =
            "(local.set $at (i32.and (i32.add (global.get $heap) (i32.const 7)) (i32.const -8)))
            (global.set $heap (i32.add (local.get $at) (local.get $size)))
            (local.get $at)"
                .to_owned();
        guest
    }

    /// One of another world.
    pub fn of(world: &'static World, imports: &'static str) -> Self {
        Self {
            world,
            imports,
            ..Self::new()
        }
    }

    /// One with these parts, which answers to a subject with this expression.
    pub fn that(parts: &str, map: &str) -> Self {
        let mut guest = Self::new();
        guest.parts = parts.to_owned();
        guest.answer(map);
        guest
    }

    /// One that returns this result of `map-subject`.
    pub fn returning(result: impl FnOnce(&mut Self) -> Vec<u8>) -> Self {
        let mut guest = Self::new();
        let result = result(&mut guest);
        let at = guest.put(&result);
        guest.answer(&format!("(i32.const {at})"));
        guest
    }

    /// Answers to all but the smoke test with this expression: the address of a result.
    pub fn answer(&mut self, map: &str) {
        let not_ours = self.put(&[0; 24]);
        self.map = format!(
            "(if (result i32) (i32.lt_u (local.get $length) (i32.const {SHORT}))
                (then (i32.const {not_ours}))
                (else {map}))"
        );
    }

    /// Answers to the smoke test too.
    pub fn always(mut self, map: &str) -> Self {
        self.map = map.to_owned();
        self
    }

    /// What `configure` does: the address of a result.
    pub fn configure(&mut self, body: &str) {
        self.configure = body.to_owned();
    }

    /// What the allocator for the host's arguments does.
    pub fn realloc(&mut self, body: &str) {
        self.realloc = body.to_owned();
    }

    /// What it says of itself.
    pub fn describe(&mut self, version: &str, watches: &[Vec<u8>], keeps_state: bool) {
        let at = self.description(version, watches, keeps_state);
        self.configure = format!("(i32.const {at})");
    }

    /// Where a result of `configure` lies.
    pub fn description(&mut self, version: &str, watches: &[Vec<u8>], keeps_state: bool) -> u32 {
        let version = self.text(version);
        let watches = self.list(watches);
        let parts: [(usize, &[u8]); 3] = [
            (4, &version),
            (12, &watches),
            (28, &[u8::from(keeps_state)]),
        ];
        let result = record(32, &parts);
        self.put(&result)
    }

    /// Puts a value at a multiple of eight and gives its address.
    pub fn put(&mut self, bytes: &[u8]) -> u32 {
        self.values.resize(self.values.len().next_multiple_of(8), 0);
        let address = FIRST + u32::try_from(self.values.len()).unwrap();
        self.values.extend_from_slice(bytes);
        assert!(FIRST as usize + self.values.len() <= HEAP as usize);
        address
    }

    pub fn text(&mut self, text: &str) -> [u8; 8] {
        let address = self.put(text.as_bytes());
        pair(address, u32::try_from(text.len()).unwrap())
    }

    pub fn texts<'a>(&mut self, texts: impl IntoIterator<Item = &'a str>) -> [u8; 8] {
        let texts: Vec<Vec<u8>> = texts
            .into_iter()
            .map(|text| self.text(text).to_vec())
            .collect();
        self.list(&texts)
    }

    pub fn list(&mut self, elements: &[Vec<u8>]) -> [u8; 8] {
        let address = self.put(&elements.concat());
        pair(address, u32::try_from(elements.len()).unwrap())
    }

    /// A tree that starts a trace of its own, with these attributes of its main span and these children.
    pub fn tree(&mut self, attributes: [u8; 8], children: [u8; 8]) -> Vec<u8> {
        let name = self.text("animal");
        let main = record(104, &[(8, &name), (76, &attributes)]);
        let parents = self.list(&[vec![0; 64]]);
        let parts: [(usize, &[u8]); 4] =
            [(8, &name), (24, &parents), (32, &main), (136, &children)];
        record(160, &parts)
    }

    /// The core module, with what makes it a mapper.
    pub fn module(&self) -> Vec<u8> {
        let values: String = self
            .values
            .iter()
            .map(|byte| format!("\\{byte:02x}"))
            .collect();
        let World {
            resolve,
            world,
            mapper,
        } = self.world;
        let text = format!(
            r#"(module
                {imports}
                (memory (export "memory") {pages})
                (global $heap (mut i32) (i32.const {HEAP}))
                (data (i32.const {FIRST}) "{values}")
                {parts}
                (func (export "cabi_realloc") (param i32 i32 i32) (param $size i32) (result i32) (local $at i32)
                    {realloc})
                (func (export "{mapper}#configure")
                    (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32) (result i32)
                    {configure})
                (func (export "{mapper}#map-subject")
                    (param $case i32) (param $watch i32) (param $json i32) (param $length i32) (param $deleted i32)
                    (param $attached i32) (param i32 i64 i32 i32 i32) (result i32)
                    {map}))"#,
            imports = self.imports,
            pages = self.pages,
            parts = self.parts.replace("MAPPER", mapper),
            realloc = self.realloc,
            configure = self.configure,
            map = self.map,
        );
        let mut module = wat::parse_str(&text).unwrap_or_else(|error| panic!("{error}"));
        embed_component_metadata(&mut module, resolve, *world, StringEncoding::UTF8).unwrap();
        module
    }

    /// The mapper as a file.
    pub fn component(&self) -> Vec<u8> {
        let encoder = ComponentEncoder::default().module(&self.module());
        encoder
            .and_then(|mut encoder| encoder.encode())
            .unwrap_or_else(|error| panic!("{error:#}"))
    }
}

/// What to watch.
pub struct Watch<'a> {
    pub kind: &'a str,
    pub versions: usize,
    pub fields: usize,
    pub attachments: usize,
    pub annotations: &'a [&'a str],
}

impl<'a> Watch<'a> {
    pub fn of(kind: &'a str) -> Self {
        Self {
            kind,
            versions: 1,
            fields: 1,
            attachments: 0,
            annotations: &[],
        }
    }

    /// As an element of a description's list.
    pub fn put(&self, guest: &mut Guest) -> Vec<u8> {
        let numbered = |count, name: &str| (0..count).map(|at| format!("{name}{at}")).collect();
        let versions: Vec<String> = numbered(self.versions, "v");
        let fields: Vec<String> = numbered(self.fields, "/spec/");
        let versions = guest.texts(versions.iter().map(String::as_str));
        let kind = guest.text(self.kind);
        let source = record(48, &[(8, &versions), (16, &kind)]);
        let attachment = record(68, &[(0, &source)]);
        let attachments = guest.list(&vec![attachment; self.attachments]);
        let annotations: Vec<Vec<u8>> = self
            .annotations
            .iter()
            .map(|key| record(12, &[(0, &guest.text(key))]))
            .collect();
        let annotations = guest.list(&annotations);
        let fields = guest.texts(fields.iter().map(String::as_str));
        let parts: [(usize, &[u8]); 4] = [
            (4, &source),
            (52, &fields),
            (60, &attachments),
            (68, &annotations),
        ];
        record(76, &parts)
    }
}

/// A pointer and a length.
pub fn pair(address: u32, length: u32) -> [u8; 8] {
    let mut pair = [0; 8];
    pair[..4].copy_from_slice(&address.to_le_bytes());
    pair[4..].copy_from_slice(&length.to_le_bytes());
    pair
}

/// A record of so many bytes with these parts at these places.
pub fn record(size: usize, parts: &[(usize, &[u8])]) -> Vec<u8> {
    let mut record = vec![0; size];
    for (at, part) in parts {
        record[*at..at + part.len()].copy_from_slice(part);
    }
    record
}

/// A result of `map-subject`: an outcome of this case.
pub fn outcome(case: u8, payload: [u8; 8]) -> Vec<u8> {
    record(24, &[(4, &[case]), (8, &payload)])
}
