//! How a service chooses: a word, or a table with its particulars.

use super::super::nearest::among;
use super::super::reader::Value;
use crate::l4::settings::{Balance, HashOf, MAGLEV_SIZES};

/// Large enough for hundreds of backends (NSDI 2016, §5.3).
const USUAL_TABLE_SIZE: u32 = 65_537;
const USUAL_FACTOR: f64 = 1.25;
const HASHES: [(&str, HashOf); 3] =
    [("source", HashOf::Source), ("4-tuple", HashOf::FourTuple), ("5-tuple", HashOf::FiveTuple)];

const WORDS: [(&str, Balance); 8] = [
    ("round-robin", Balance::RoundRobin),
    ("least-connections", Balance::LeastConnections),
    ("two-choices", Balance::TwoChoices),
    ("source-hash", Balance::Hash { of: HashOf::Source }),
    ("4-tuple-hash", Balance::Hash { of: HashOf::FourTuple }),
    ("5-tuple-hash", Balance::Hash { of: HashOf::FiveTuple }),
    ("maglev", Balance::Maglev { of: HashOf::Source, table_size: USUAL_TABLE_SIZE }),
    ("bounded-hash", Balance::BoundedHash { of: HashOf::Source, factor: USUAL_FACTOR }),
];

/// Reads it.
pub(super) fn read(value: &Value<'_>) -> Option<Balance> {
    if !value.is_table() {
        return value.word(&WORDS, &[]);
    }
    let mut table = value.table("`balance`")?;
    let kind = table.require("kind", "\"maglev\"").map(|value| value.word(&WORDS, &[]));
    let (hash, size, factor) = (table.take("hash"), table.take("table_size"), table.take("factor"));
    table.finish();
    let kind = kind??;
    let refuse = |value: &Option<Value<'_>>, kinds: &str| {
        if let Some(value) = value {
            let error = value.error(format!("`{}` has no meaning in this balance", value.key()));
            value.reject::<()>(error.label(format!("only for {kinds}")));
        }
    };
    if !matches!(kind, Balance::Maglev { .. }) {
        refuse(&size, "`kind = \"maglev\"`");
    }
    if !matches!(kind, Balance::BoundedHash { .. }) {
        refuse(&factor, "`kind = \"bounded-hash\"`");
    }
    if !matches!(kind, Balance::Maglev { .. } | Balance::BoundedHash { .. }) {
        refuse(&hash, "`kind = \"maglev\"` and `kind = \"bounded-hash\"`");
        return Some(kind);
    }
    let given = hash.and_then(|value| value.word(&HASHES, &[]));
    Some(match kind {
        Balance::Maglev { of, table_size } => Balance::Maglev {
            of: given.unwrap_or(of),
            table_size: size.and_then(|value| read_size(&value)).unwrap_or(table_size),
        },
        Balance::BoundedHash { of, factor: usual } => {
            let (range, expected) = (1f64.next_up()..=1e3, "a number above 1, such as 1.25");
            let factor = factor.and_then(|value| value.number(range, expected));
            Balance::BoundedHash { of: given.unwrap_or(of), factor: factor.unwrap_or(usual) }
        }
        other => other,
    })
}

fn read_size(value: &Value<'_>) -> Option<u32> {
    let size = value.integer(0..=u32::MAX)?;
    if MAGLEV_SIZES.contains(&size) {
        return Some(size);
    }
    let sizes = among(&MAGLEV_SIZES.map(|size| size.to_string()));
    let error = value.error(format!("`table_size` cannot be {size}"));
    value.reject(error.label(format!("expected one of {sizes}, which are primes")))
}
