//! Domain names as the generator makes them: labels of any octets.

/// The most bytes of a name in wire form (RFC 1035 §3.1).
const MAX_BYTES: usize = 255;
/// The most bytes of a label.
pub const MAX_LABEL_BYTES: usize = 63;

/// An absolute domain name.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub Vec<Vec<u8>>);

impl Name {
    /// From plain text without escapes: `www.example.com.`
    pub fn plain(text: &str) -> Name {
        let labels = text.split('.').filter(|label| !label.is_empty());
        Name(labels.map(|label| label.as_bytes().to_vec()).collect())
    }

    /// This name with one more label before it; none if it would be too long.
    pub fn child(&self, label: &[u8]) -> Option<Name> {
        let mut labels = vec![label.to_vec()];
        labels.extend_from_slice(&self.0);
        let name = Name(labels);
        (name.wire().len() <= MAX_BYTES).then_some(name)
    }

    /// As [`Self::child`], where the name is known to be short.
    pub fn with(&self, label: &str) -> Name {
        label.rsplit('.').fold(self.clone(), |name, label| {
            name.child(label.as_bytes()).expect("the names of the generator are short")
        })
    }

    /// The name without its first label; the root's parent is the root.
    pub fn parent(&self) -> Name {
        Name(self.0.iter().skip(1).cloned().collect())
    }

    /// True if its first label is an asterisk.
    pub fn is_wildcard(&self) -> bool {
        self.0.first().is_some_and(|label| label == b"*")
    }

    /// True at and below `other`.
    pub fn is_below(&self, other: &Name) -> bool {
        self.0.ends_with(&other.0)
    }

    /// True when `other` is at or below this name.
    pub fn holds(&self, other: &Name) -> bool {
        other.is_below(self)
    }

    /// This name and labels of `filler` before it, as long as a name may be.
    pub fn longest(&self, filler: u8) -> Name {
        let mut name = self.clone();
        loop {
            let room = MAX_BYTES - name.wire().len();
            if room < 2 {
                return name;
            }
            // What is left must not be a single byte, which would hold no label.
            let mut bytes = (room - 1).min(MAX_LABEL_BYTES);
            if room - 1 - bytes == 1 {
                bytes -= 1;
            }
            name = name.child(&vec![filler; bytes]).expect("it was made to fit");
        }
    }

    /// This name and labels of one `filler` before it, as many as a name may have.
    pub fn deepest(&self, filler: u8) -> Name {
        let mut name = self.clone();
        while let Some(child) = name.child(&[filler]) {
            name = child;
        }
        name
    }

    /// The same in lower case.
    pub fn lower(&self) -> Name {
        Name(self.0.iter().map(|label| label.to_ascii_lowercase()).collect())
    }

    /// In wire form.
    pub fn wire(&self) -> Vec<u8> {
        let mut wire = Vec::new();
        for label in &self.0 {
            wire.push(label.len() as u8);
            wire.extend_from_slice(label);
        }
        wire.push(0);
        wire
    }

    /// In the presentation form of master files, absolute.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for label in &self.0 {
            for &byte in label {
                match byte {
                    b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'*' => {
                        text.push(byte as char)
                    }
                    b'.' | b'"' | b';' | b'@' | b'$' | b'(' | b')' => {
                        text.push('\\');
                        text.push(byte as char);
                    }
                    // Also the backslash: NSD 4.6 reads `\\.` as an escaped dot.
                    _ => text.push_str(&format!("\\{byte:03}")),
                }
            }
            text.push('.');
        }
        if text.is_empty() { ".".to_string() } else { text }
    }
}
