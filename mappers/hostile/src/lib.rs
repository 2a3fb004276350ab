//! A mapper that misbehaves as told, for tests of the sandbox. What it does when it is configured stands in the
//! operator's text, what it does to a Pod is the Pod's name. It is no example.

mod misbehaviour;

use core::hint::black_box;

use span_mapper_sdk::contract::Located;
use span_mapper_sdk::{
    AnnotationValue, Configuration, Description, Error, Mapper, ObjectSource, Outcome, Subject,
    Watch, export_mapper,
};

/// The mapper.
pub struct Hostile;

impl Mapper for Hostile {
    fn configure(configuration: &Configuration) -> Result<Description, Error> {
        let mut kind = "Pod";
        let mut annotation = "lighthouse.jenkins-x.io/traceID";
        let mut feature = None;
        match configuration.text.as_str() {
            "loop" => misbehaviour::spin(),
            "error" => {
                return Err(Error::Configuration(Located {
                    message: "no such thing".to_owned(),
                    line: 3,
                    column: 7,
                }));
            }
            "secrets" => kind = "Secret",
            "annotation" => annotation = "iam.amazonaws.com/role",
            "feature" => feature = Some("telepathy".to_owned()),
            _ => {}
        }
        let watch = Watch::objects(ObjectSource::new("", ["v1"], kind))
            .fields(["/metadata/name"])
            .annotate(annotation, AnnotationValue::TraceId);
        let mut description = Description::new(&configuration.text).watch(watch);
        description.features.extend(feature);
        description.keeps_state = configuration.text == "keeps state";
        misbehaviour::remember(&configuration.text);
        Ok(description)
    }

    fn map(subject: &Subject) -> Result<Outcome<'_>, Error> {
        let Subject::Object(object) = subject else {
            return Ok(Outcome::NotOurs);
        };
        let name = object.json.split_once(r#""name":""#);
        let name = name.and_then(|(_, rest)| rest.split_once('"'));
        match name.map(|(name, _)| name).unwrap_or_default() {
            "loop" => misbehaviour::spin(),
            "slow" => misbehaviour::dawdle(),
            "recursion" => return Ok(Outcome::Wait(misbehaviour::recurse(0).to_string().into())),
            "memory" => misbehaviour::devour(),
            "trap" => misbehaviour::trap(),
            "log" => misbehaviour::chatter(),
            "long text" => return Ok(Outcome::Wait("x".repeat(20 << 20).into())),
            "memory of earlier calls" => return Ok(Outcome::Wait(misbehaviour::recall().into())),
            "refuse" => return Err(Error::Other("I will not".to_owned())),
            "many spans" => return Ok(misbehaviour::many_spans(black_box(5_000))),
            "not finite" => return Ok(misbehaviour::not_finite()),
            "circle" => return Ok(misbehaviour::circle()),
            "no parent" => return Ok(misbehaviour::no_parent()),
            _ => {}
        }
        Ok(Outcome::NotOurs)
    }
}

export_mapper!(Hostile);
