//! What is known where an expression stands, and all that expressions of a kind read.

use std::cell::RefCell;
use std::rc::Rc;

use crate::expression::{Expression, Text};
use crate::place::Wrong;
use crate::reads::{Alias, Aliases, Names, Reads, Refused, Root, follow};
use crate::yaml::{Key, Scalar};

/// Names that every expression knows.
const ALWAYS: [&str; 4] = ["object", "attached", "deleted", "omitted"];

/// A place in the text, as to the names that are known there. Clones share what is read.
#[derive(Clone, Debug)]
pub struct Scope {
    names: Names,
    reads: Rc<RefCell<Reads>>,
}

impl Scope {
    /// Where the object is known, and what comes along under these names.
    pub fn new(attached: Vec<String>) -> Self {
        let [object, attached_objects, deleted, omitted] = ALWAYS;
        let mut names = Names {
            attached,
            known: Vec::new(),
        };
        names.know(object, Aliases::from([Alias::root(Root::Object)]));
        names.know(
            attached_objects,
            Aliases::from([Alias::root(Root::Attached)]),
        );
        names.know(deleted, Aliases::new());
        names.know(omitted, Aliases::new());
        Self {
            names,
            reads: Rc::default(),
        }
    }

    /// Reads an expression whose value is looked at.
    pub fn expression(&self, scalar: &Scalar) -> Result<Expression, Wrong> {
        let expression = Expression::parse(scalar, 0, &scalar.text)?;
        let aliases = self.follow(&expression)?;
        self.reads.borrow_mut().read(&aliases);
        Ok(expression)
    }

    /// Reads a text with expressions in it.
    pub fn text(&self, scalar: &Scalar) -> Result<Text, Wrong> {
        let text = Text::parse(scalar)?;
        for expression in text.expressions() {
            let aliases = self.follow(expression)?;
            self.reads.borrow_mut().read(&aliases);
        }
        Ok(text)
    }

    /// Reads an expression whose value gets a name, which is known from here on.
    pub fn name_value(&mut self, key: &Key, scalar: &Scalar) -> Result<Expression, Wrong> {
        self.check(&key.text)
            .map_err(|message| key.at.wrong(message))?;
        let expression = Expression::parse(scalar, 0, &scalar.text)?;
        let aliases = self.follow(&expression)?;
        self.names.know(&key.text, aliases);
        Ok(expression)
    }

    /// A name that the author gives to an element of a list.
    pub fn new_name(&self, scalar: &Scalar) -> Result<String, Wrong> {
        self.check(&scalar.text)
            .map_err(|message| scalar.place(0).wrong(message))?;
        Ok(scalar.text.clone())
    }

    /// Reads an expression whose elements get a name one after the other, which is known from here on.
    pub fn each(&mut self, scalar: &Scalar, name: &str) -> Result<Expression, Wrong> {
        let expression = Expression::parse(scalar, 0, &scalar.text)?;
        let aliases = self.follow(&expression)?;
        let elements = self.reads.borrow_mut().elements(&aliases);
        self.names.know(name, elements);
        self.names.know("key", Aliases::new());
        Ok(expression)
    }

    /// What is read of the object.
    pub fn fields(&self) -> Vec<String> {
        self.reads.borrow().fields(Root::Object)
    }

    /// What is read of the objects that come along at this place.
    pub fn fields_attached(&self, place: usize) -> Vec<String> {
        self.reads.borrow().fields(Root::One(place))
    }

    fn follow(&self, expression: &Expression) -> Result<Aliases, Wrong> {
        let mut names = self.names.clone();
        let followed = follow(expression.tree(), &mut names, &mut self.reads.borrow_mut());
        followed.map_err(|refused| match refused {
            Refused::Unknown { name, known } => expression.wrong_at(
                &name,
                format!(
                    "the name '{name}' is not known here; known are {}. A text stands in quotes of its own: \"'{name}'\"",
                    known.join(", ")
                ),
            ),
            Refused::Unordered => expression.place().wrong(
                "objects ({key: value}) are not made in expressions, as they have no order: use conditions (a ? b : c)",
            ),
        })
    }

    fn check(&self, name: &str) -> Result<(), String> {
        let mut characters = name.chars();
        let is_first = |it: char| it.is_ascii_alphabetic() || it == '_';
        let is_name = characters.next().is_some_and(is_first)
            && characters.all(|it| it.is_ascii_alphanumeric() || it == '_');
        if !is_name {
            return Err(format!(
                "'{name}' is no name: letters, digits and underscores"
            ));
        }
        if self.names.known.iter().any(|(known, _)| known == name) {
            return Err(format!("the name '{name}' has a meaning already"));
        }
        Ok(())
    }
}
