//! Route templates: from a path with a customer's order in it to one of a few names.
//!
//! In: templates such as `/orders/{id}`, and paths. Out: the first template that matches.
//! Left out on purpose: queries, percent-decoding and trailing slashes as a matter of taste; a template says what it says.

/// The templates of one workload, in the order written.
#[derive(Debug, Clone, Default)]
pub(crate) struct Routes {
    templates: Vec<Template>,
}

#[derive(Debug, Clone)]
struct Template {
    text: String,
    segments: Vec<Segment>,
}

#[derive(Debug, Clone, PartialEq)]
enum Segment {
    Literal(String),
    One,
    Rest,
}

impl Routes {
    /// # Errors
    /// What is wrong with the first template that is no template.
    pub(crate) fn new(templates: &[String]) -> Result<Self, String> {
        let templates = templates
            .iter()
            .map(|text| Template::parse(text))
            .collect::<Result<_, _>>()?;
        Ok(Self { templates })
    }

    /// The first template that matches `path`.
    pub(crate) fn find(&self, path: &str) -> Option<&str> {
        self.templates
            .iter()
            .find(|template| template.matches(path))
            .map(|template| template.text.as_str())
    }
}

impl Template {
    fn parse(text: &str) -> Result<Self, String> {
        let path = text.strip_prefix('/').ok_or_else(|| {
            format!("route `{text}` does not begin with a slash: write such as `/orders/{{id}}`")
        })?;
        let segments: Vec<_> = path
            .split('/')
            .map(|part| Segment::parse(text, part))
            .collect::<Result<_, _>>()?;
        let rest_within = segments
            .iter()
            .rev()
            .skip(1)
            .any(|segment| *segment == Segment::Rest);
        if rest_within {
            return Err(format!(
                "route `{text}` goes on after `{{*…}}`, which already takes all that remains"
            ));
        }
        Ok(Self {
            text: text.to_owned(),
            segments,
        })
    }

    fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut parts = path.split('/');
        for segment in &self.segments {
            match (segment, parts.next()) {
                (Segment::Rest, Some(_)) => return true,
                (Segment::Literal(literal), Some(part)) if literal == part => {}
                (Segment::One, Some(part)) if !part.is_empty() => {}
                _ => return false,
            }
        }
        parts.next().is_none()
    }
}

impl Segment {
    fn parse(text: &str, part: &str) -> Result<Self, String> {
        let inner = part.strip_prefix('{').and_then(|part| part.strip_suffix('}'));
        match inner {
            Some(name) if name.starts_with('*') => Ok(Self::Rest),
            Some(name) if !name.is_empty() && !name.contains(['{', '}']) => Ok(Self::One),
            None if !part.contains(['{', '}']) => Ok(Self::Literal(part.to_owned())),
            _ => Err(format!(
                "route `{text}` has braces in `{part}`: a name in braces must be a whole segment, such as `{{id}}`"
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_template_that_matches_names_the_route() {
        let texts = [
            "/orders/mine",
            "/orders/{id}",
            "/orders/{id}/items/{item}",
            "/static/{*file}",
            "/",
        ];
        let routes = Routes::new(&texts.map(str::to_owned)).expect("templates");
        for (path, expected) in [
            ("/orders/mine", Some("/orders/mine")),
            ("/orders/17", Some("/orders/{id}")),
            ("/orders/17/items/3", Some("/orders/{id}/items/{item}")),
            ("/static/css/a.css", Some("/static/{*file}")),
            ("/", Some("/")),
            ("/orders/", None),
            ("/orders", None),
            ("/orders/17/", None),
            ("*", None),
            ("", None),
        ] {
            assert_eq!(routes.find(path), expected, "{path}");
        }
    }

    #[test]
    fn what_is_no_template_is_refused_with_the_part_that_is_wrong() {
        for (text, said) in [
            ("orders", "does not begin with a slash"),
            ("/a{b}", "braces in `a{b}`"),
            ("/{}", "braces in `{}`"),
            ("/{*all}/x", "already takes all that remains"),
        ] {
            let error = Routes::new(&[text.to_owned()]).expect_err(text);
            assert!(error.contains(said), "{error}");
        }
    }
}
