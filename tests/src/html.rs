//! As much of HTML as a form needs.

use std::collections::BTreeMap;

/// A form with its fields in order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Form {
    pub action: String,
    pub method: String,
    pub fields: Vec<(String, String)>,
}

impl Form {
    /// Returns the value of a field.
    #[must_use]
    pub fn value(&self, name: &str) -> Option<&str> {
        let found = self.fields.iter().find(|(n, _)| n == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Sets a field that the form has; panics when it has not.
    pub fn set(&mut self, name: &str, value: &str) {
        let field = self.fields.iter_mut().find(|(n, _)| n == name);
        let field = field.unwrap_or_else(|| panic!("the form has no field {name}"));
        value.clone_into(&mut field.1);
    }
}

/// Returns the forms of a page.
#[must_use]
pub fn forms(page: &str) -> Vec<Form> {
    let mut forms: Vec<Form> = Vec::new();
    let mut open = false;
    for tag in tags(page) {
        match tag.name.as_str() {
            "form" => {
                open = true;
                forms.push(Form {
                    action: tag.attribute("action"),
                    method: tag.attribute("method").to_lowercase(),
                    fields: Vec::new(),
                });
            }
            "/form" => open = false,
            "input" | "button" | "select" if open && tag.attributes.contains_key("name") => {
                let field = (tag.attribute("name"), tag.attribute("value"));
                forms.last_mut().unwrap().fields.push(field);
            }
            _ => {}
        }
    }
    forms
}

/// Returns the first form with a field of this name.
#[must_use]
pub fn form_with(page: &str, field: &str) -> Option<Form> {
    forms(page).into_iter().find(|f| f.value(field).is_some())
}

#[derive(Debug)]
struct Tag {
    name: String,
    attributes: BTreeMap<String, String>,
}

impl Tag {
    fn attribute(&self, name: &str) -> String {
        self.attributes.get(name).cloned().unwrap_or_default()
    }
}

fn tags(page: &str) -> Vec<Tag> {
    let mut found = Vec::new();
    let mut rest = page;
    while let Some(start) = rest.find('<') {
        rest = &rest[start + 1..];
        let Some(end) = tag_end(rest) else { break };
        found.push(tag(&rest[..end]));
        rest = &rest[end..];
    }
    found
}

/// A `>` inside double quotes does not end a tag.
fn tag_end(text: &str) -> Option<usize> {
    let mut quoted = false;
    text.find(|c| {
        if c == '"' {
            quoted = !quoted;
        }
        c == '>' && !quoted
    })
}

fn tag(text: &str) -> Tag {
    let (name, mut rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let mut attributes = BTreeMap::new();
    while let Some((key, after)) = rest.split_once("=\"") {
        let Some((value, after)) = after.split_once('"') else {
            break;
        };
        // attributes without a value may stand before this one
        if let Some(key) = key.split_whitespace().last() {
            attributes.insert(key.to_lowercase(), unescape(value));
        }
        rest = after;
    }
    Tag {
        name: name.trim_end_matches('/').to_lowercase(),
        attributes,
    }
}

fn unescape(text: &str) -> String {
    let plain = [
        ("&lt;", "<"),
        ("&gt;", ">"),
        ("&quot;", "\""),
        ("&#34;", "\""),
        ("&#39;", "'"),
        ("&#x27;", "'"),
        ("&#x2F;", "/"),
        ("&#60;", "<"),
        ("&#62;", ">"),
        ("&#38;", "&"),
        ("&amp;", "&"),
    ];
    plain
        .iter()
        .fold(text.to_owned(), |text, (from, to)| text.replace(from, to))
}

#[cfg(test)]
mod tests {
    use super::{form_with, forms};

    const PAGE: &str = r#"<p>a &lt; b</p><form method="POST" action="/signin?rt=a&amp;b">
        <input type="hidden" name="csrf" value="x&quot;&gt;y"><input required name="username">
        <button type="submit" name="go" value="1">Go</button></form><input name="outside">"#;

    #[test]
    fn a_form_is_read_with_its_fields() {
        let form = &forms(PAGE)[0];
        assert_eq!(
            (form.method.as_str(), form.action.as_str()),
            ("post", "/signin?rt=a&b")
        );
        assert_eq!(form.value("csrf"), Some("x\">y"));
        assert_eq!(form.value("username"), Some(""));
        assert_eq!(form.value("go"), Some("1"));
        assert_eq!(form.value("outside"), None);
    }

    #[test]
    fn a_form_is_found_by_a_field() {
        assert!(form_with(PAGE, "username").is_some());
        assert!(form_with(PAGE, "password").is_none());
    }
}
