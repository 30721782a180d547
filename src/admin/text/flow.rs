//! What becomes of a flow, in words, a line a step.

use std::fmt::Write;

use super::{columns, word};
use crate::l4::admission::Refusal;
use crate::l4::service::{ChoiceExplained, FlowExplained, NoBackend};

/// The whole explanation.
pub fn explained(explained: &FlowExplained) -> String {
    let FlowExplained { service, protocol, client, vip, refusal, route, choice } = explained;
    let client = match client.port() {
        0 => client.ip().to_string(),
        _ => client.to_string(),
    };
    let protocol = word(protocol).to_ascii_uppercase();
    let mut text = format!("a new {protocol} flow of {client} to {vip}, service {service}\n");
    let admission = match refusal {
        None => "let in",
        Some(Refusal::Denied) => "refused: the access lists do not let this source in",
        Some(Refusal::TooManyOfSource) => "refused: this source has brought too many of late",
        Some(Refusal::TooMany) => "refused: too many have come of late",
    };
    let _ = writeln!(text, "door      {admission}");
    if let Some(route) = route {
        let to = match &route.service {
            Some(service) => {
                let through: String =
                    route.through.iter().map(|one| format!(", by way of {one}")).collect();
                format!("{} is carried by service {service}{through}", route.server_name)
            }
            None => format!("no route has {}: the service carries it itself", route.server_name),
        };
        let _ = writeln!(text, "route     {to}");
    }
    if let Some(choice) = choice {
        text += &choice_text(choice);
    }
    text
}

fn choice_text(choice: &ChoiceExplained) -> String {
    let kind = serde_json::to_value(choice.balance).unwrap_or_default();
    let kind = kind["kind"].as_str().unwrap_or_default().to_owned();
    let lasting = match choice.is_lasting {
        true => "the same flow comes to the same backend while nothing changes",
        false => "as things stand just now",
    };
    let mut text = format!("balance   {kind}: {lasting}\n");
    if choice.wants_port {
        text += "          it follows from the client's port, which was not given: 0 was taken\n";
    }
    let rows = choice.backends.iter().map(|one| {
        let why = match (one.is_chosen, one.why_not) {
            (true, _) => "taken",
            (false, Some(why)) => why,
            (false, None) => "takes others",
        };
        let (weight, flows) = (one.weight.to_string(), one.connections.to_string());
        vec![
            one.address.to_string(),
            format!("weight {weight}"),
            format!("{flows} now"),
            why.into(),
        ]
    });
    text += &columns(10, &rows.collect::<Vec<_>>());
    match (choice.backend, choice.none) {
        (Some(backend), _) => text + &format!("backend   {backend}\n"),
        (None, Some(NoBackend::Full)) => text + "backend   none: every place is taken\n",
        (None, _) => text + "backend   none: no backend is up\n",
    }
}
