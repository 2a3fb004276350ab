//! Which fields an expression reads: what each of its parts stands for in the object is followed through it.

use std::collections::BTreeSet;

use cel::common::ast::{EntryExpr, Expr, IdedExpr, LiteralValue, operators};

/// More places than these a value cannot stand for; what is beyond is read as a whole.
const ALIASES: usize = 64;

/// Functions that give back what they are given.
const THROUGH: [&str; 4] = ["dyn", "or", "orValue", "value"];

/// All other functions.
const FUNCTIONS: [&str; 15] = [
    "bytes",
    "contains",
    "double",
    "duration",
    "endsWith",
    "hasValue",
    "int",
    "size",
    "startsWith",
    "string",
    "timestamp",
    "type",
    "uint",
    "has",
    "in",
];

/// What a value stands for: a part of the object or of what comes along, or a list of such.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Alias {
    root: Root,
    path: Vec<String>,
    /// In how many lists it is, that are not in the object.
    lists: u32,
}

/// Where a path begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Root {
    /// The object.
    Object,
    /// All that comes along, by name.
    Attached,
    /// An object that comes along, by the place of its attachment.
    One(usize),
}

/// All that a value may stand for.
pub type Aliases = BTreeSet<Alias>;

/// What is read.
#[derive(Clone, Debug, Default)]
pub struct Reads {
    /// As a whole.
    read: BTreeSet<(Root, Vec<String>)>,
    /// For their number of elements alone, unless something of them is read.
    counted: BTreeSet<(Root, Vec<String>)>,
}

/// Why an expression is refused.
#[derive(Debug)]
pub enum Refused {
    /// A name means nothing.
    Unknown {
        /// The name.
        name: String,
        /// What is known instead.
        known: Vec<String>,
    },
    /// Objects that are made by an expression have no order: what goes through one would give something else each time.
    Unordered,
}

/// Names that are known where an expression stands.
#[derive(Clone, Debug)]
pub struct Names {
    /// Names of what comes along, by place.
    pub attached: Vec<String>,
    /// What other names stand for; the last of a name counts.
    pub known: Vec<(String, Aliases)>,
}

impl Alias {
    /// All of this.
    pub fn root(root: Root) -> Self {
        Self {
            root,
            path: Vec::new(),
            lists: 0,
        }
    }

    fn member(&self, name: &str, attached: &[String]) -> Option<Self> {
        if self.lists > 0 {
            return None;
        }
        if self.root == Root::Attached {
            let place = attached.iter().position(|known| known == name)?;
            return Some(Self {
                root: Root::One(place),
                path: Vec::new(),
                lists: 1,
            });
        }
        let mut path = self.path.clone();
        path.push(name.replace('~', "~0").replace('/', "~1"));
        Some(Self { path, ..*self })
    }

    fn element(&self) -> Self {
        match self.lists.checked_sub(1) {
            Some(lists) => Self {
                lists,
                ..self.clone()
            },
            None => {
                let mut path = self.path.clone();
                path.push("*".to_owned());
                Self { path, ..*self }
            }
        }
    }

    fn within_list(mut self) -> Self {
        self.lists = self.lists.saturating_add(1);
        self
    }
}

impl Reads {
    /// That all of these are read as a whole.
    pub fn read(&mut self, aliases: &Aliases) {
        let new = aliases.iter().map(|alias| (alias.root, alias.path.clone()));
        self.read.extend(new);
    }

    /// Elements of lists, or values of objects.
    pub fn elements(&mut self, of: &Aliases) -> Aliases {
        for alias in of.iter().filter(|alias| alias.lists == 0) {
            self.counted.insert((alias.root, alias.path.clone()));
        }
        of.iter().map(Alias::element).collect()
    }

    /// What is read of a root, as JSON pointers: nothing that another one includes. None means all of it.
    pub fn fields(&self, of: Root) -> Vec<String> {
        let below = |outer: &[String], inner: &[String]| inner.starts_with(outer);
        let counted = self.counted.iter().filter(|(root, path)| {
            let read = self.read.iter();
            // An element is told of as soon as something of it is.
            !read
                .clone()
                .any(|(other, inner)| other == root && below(path, inner))
        });
        let all: BTreeSet<&Vec<String>> = self
            .read
            .iter()
            .chain(counted)
            .filter(|(root, _)| *root == of)
            .map(|(_, path)| path)
            .collect();
        let covered =
            |path: &Vec<String>| all.iter().any(|other| *other != path && below(other, path));
        let needed = all.iter().filter(|path| !covered(path));
        let mut fields: Vec<String> = needed
            .map(|path| path.iter().map(|key| ["/", key].concat()).collect())
            .collect();
        if fields.is_empty() {
            // No field at all would mean the whole object.
            fields.push("/metadata/name".to_owned());
        }
        if fields.iter().any(String::is_empty) {
            fields.clear();
        }
        fields
    }
}

/// Follows an expression: what it reads on the way is noted, and what its value stands for is given.
pub fn follow(
    expression: &IdedExpr,
    names: &mut Names,
    reads: &mut Reads,
) -> Result<Aliases, Refused> {
    let aliases = match &expression.expr {
        Expr::Ident(name) => names.find(name)?,
        Expr::Select(select) => {
            let operand = follow(&select.operand, names, reads)?;
            let members = member(&operand, &select.field, names)?;
            if select.test {
                reads.read(&members);
                return Ok(Aliases::new());
            }
            members
        }
        Expr::Call(call) => {
            let target = call.target.as_deref();
            let mut arguments = target.into_iter().chain(&call.args);
            match call.func_name.as_str() {
                // Makes a value of one that may be missing: `optional.of`.
                _ if is_optional(target) => union(&call.args, names, reads)?,
                operators::INDEX | operators::OPT_INDEX | operators::OPT_SELECT => {
                    let of = arguments.next().map(|of| follow(of, names, reads));
                    let of = of.transpose()?.unwrap_or_default();
                    match arguments.next().map(|index| (index, &index.expr)) {
                        Some((_, Expr::Literal(LiteralValue::String(key)))) => {
                            member(&of, key.inner(), names)?
                        }
                        Some((index, _)) => {
                            use_all(Some(index), names, reads)?;
                            reads.elements(&of)
                        }
                        None => Aliases::new(),
                    }
                }
                operators::CONDITIONAL => {
                    use_all(arguments.next(), names, reads)?;
                    union(arguments, names, reads)?
                }
                operators::ADD => union(arguments, names, reads)?,
                name if THROUGH.contains(&name) => union(arguments, names, reads)?,
                "size" => {
                    let counted = union(arguments, names, reads)?;
                    _ = reads.elements(&counted);
                    Aliases::new()
                }
                name => {
                    let is_function = name.starts_with(|it: char| it.is_ascii_alphabetic());
                    if is_function && !FUNCTIONS.contains(&name) {
                        return Err(Refused::Unknown {
                            name: name.to_owned(),
                            known: FUNCTIONS.map(str::to_owned).to_vec(),
                        });
                    }
                    use_all(arguments, names, reads)?;
                    Aliases::new()
                }
            }
        }
        Expr::Comprehension(comprehension) => {
            let range = follow(&comprehension.iter_range, names, reads)?;
            let element = reads.elements(&range);
            let mut accumulated = follow(&comprehension.accu_init, names, reads)?;
            let outer = names.known.len();
            // What is gathered may be used in the next step.
            for _ in 0..2 {
                names.know(&comprehension.iter_var, element.clone());
                if let Some(second) = &comprehension.iter_var2 {
                    names.know(second, element.clone());
                }
                names.know(&comprehension.accu_var, accumulated.clone());
                use_all(Some(&comprehension.loop_cond), names, reads)?;
                accumulated.extend(follow(&comprehension.loop_step, names, reads)?);
                names.known.truncate(outer);
            }
            names.know(&comprehension.accu_var, accumulated);
            let result = follow(&comprehension.result, names, reads);
            names.known.truncate(outer);
            result?
        }
        Expr::List(list) => {
            let elements = union(list.elements.iter(), names, reads)?;
            elements.into_iter().map(Alias::within_list).collect()
        }
        Expr::Map(_) => return Err(Refused::Unordered),
        Expr::Struct(of) => {
            for entry in &of.entries {
                if let EntryExpr::StructField(field) = &entry.expr {
                    use_all([&field.value], names, reads)?;
                }
            }
            Aliases::new()
        }
        Expr::Literal(_) | Expr::Unspecified => Aliases::new(),
    };
    if aliases.len() > ALIASES {
        reads.read(&aliases);
        return Ok(Aliases::new());
    }
    Ok(aliases)
}

fn is_optional(target: Option<&IdedExpr>) -> bool {
    matches!(target.map(|it| &it.expr), Some(Expr::Ident(name)) if name == "optional")
}

/// A member of all of these.
fn member(of: &Aliases, name: &str, names: &Names) -> Result<Aliases, Refused> {
    let is_attached = |alias: &&Alias| alias.root == Root::Attached;
    if of.iter().any(|alias| is_attached(&alias))
        && !names.attached.iter().any(|known| known == name)
    {
        return Err(Refused::Unknown {
            name: name.to_owned(),
            known: names.attached.clone(),
        });
    }
    let members = of
        .iter()
        .filter_map(|alias| alias.member(name, &names.attached));
    Ok(members.collect())
}

/// What any of these stands for.
fn union<'e>(
    expressions: impl IntoIterator<Item = &'e IdedExpr>,
    names: &mut Names,
    reads: &mut Reads,
) -> Result<Aliases, Refused> {
    let mut all = Aliases::new();
    for expression in expressions {
        all.extend(follow(expression, names, reads)?);
    }
    Ok(all)
}

/// Reads all that these stand for.
fn use_all<'e>(
    expressions: impl IntoIterator<Item = &'e IdedExpr>,
    names: &mut Names,
    reads: &mut Reads,
) -> Result<(), Refused> {
    let used = union(expressions, names, reads)?;
    reads.read(&used);
    Ok(())
}

impl Names {
    /// From here on a name stands for this.
    pub fn know(&mut self, name: &str, aliases: Aliases) {
        self.known.push((name.to_owned(), aliases));
    }

    fn find(&self, name: &str) -> Result<Aliases, Refused> {
        let mut known = self.known.iter().rev();
        match known.find(|(known, _)| known == name) {
            Some((_, aliases)) => Ok(aliases.clone()),
            None => Err(Refused::Unknown {
                name: name.to_owned(),
                known: self.known.iter().map(|(known, _)| known.clone()).collect(),
            }),
        }
    }
}
