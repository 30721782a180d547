"use strict";
// Asks the API every two seconds and shows what it says. Every text is set as text, never as HTML.

const PERIOD_MS = 2000;
const byId = id => document.getElementById(id);
const token = byId("token");
token.value = sessionStorage.getItem("token") ?? "";
byId("token-field").addEventListener("submit", event => event.preventDefault());
token.addEventListener("change", () => sessionStorage.setItem("token", token.value));

// ---- the API ----

async function call(method, path, body) {
  const headers = { Accept: "application/json" };
  if (token.value) headers.Authorization = `Bearer ${token.value}`;
  if (body) headers["Content-Type"] = "application/json";
  const answer = await fetch(`api/v1/${path}`, { method, headers, body: body && JSON.stringify(body) });
  const said = await answer.json();
  if (!answer.ok) throw new Error(said.help ? `${said.error} (${said.help})` : said.error);
  return said;
}

async function change(doing, method, path, body) {
  try {
    const said = await call(method, path, body);
    byId("said").textContent = said.warning ? `${doing}; ${said.warning}` : doing;
  } catch (error) {
    byId("said").textContent = `${doing}: failed: ${error.message}`;
  }
  await refresh();
}

const set = (target, action, rest) => change(`${target}: ${ACTIONS[action]}`, "POST", "overrides", { target, action, ...rest });
const clear = (target, only) => change(`${target}: cleared`, "DELETE", `overrides?target=${encodeURIComponent(target)}&only=${only}`);

// ---- building and updating what is shown ----

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value !== undefined && value !== null && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter(child => child !== null && child !== undefined));
  return made;
}

// Makes `old` look like `wanted` in place, so that focus, selection and scrolling survive.
function morph(old, wanted) {
  for (const { name } of [...old.attributes]) if (!wanted.hasAttribute(name)) old.removeAttribute(name);
  for (const { name, value } of wanted.attributes) if (old.getAttribute(name) !== value) old.setAttribute(name, value);
  const [before, after] = [[...old.childNodes], [...wanted.childNodes]];
  after.forEach((node, index) => {
    const present = before[index];
    if (!present) old.append(node);
    else if (present.nodeName !== node.nodeName) present.replaceWith(node);
    else if (node.nodeType === Node.TEXT_NODE) { if (present.data !== node.data) present.data = node.data; }
    else morph(present, node);
  });
  before.slice(after.length).forEach(node => node.remove());
}

function show(id, ...children) {
  const place = byId(id);
  const wanted = place.cloneNode(false);
  wanted.append(...children.flat());
  morph(place, wanted);
}

function table(heads, rows) {
  if (rows.length === 0) return element("p", { class: "soft" }, "none");
  const head = element("thead", null, element("tr", null, heads.map(name => element("th", { scope: "col" }, name))));
  const body = element("tbody", null, rows.map(cells => element("tr", null, cells.map((cell, column) => {
    const content = Array.isArray(cell) ? cell : [cell ?? ""];
    return column === 0 ? element("th", { scope: "row" }, ...content) : element("td", { "data-label": heads[column] || null }, ...content);
  }))));
  return element("div", { class: "wide" }, element("table", { class: "stack" }, head, body));
}

const GRADES = { up: "good", served: "good", awaited: "doubt", acknowledged: "good", pending: "doubt", "forced-up": "doubt", drained: "doubt", draining: "doubt", "no-weight": "doubt", degraded: "doubt", unknown: "doubt", fresh: "good", stale: "doubt", empty: "doubt", unresolved: "doubt", full: "doubt", unwatched: "soft", unused: "soft" };
const state = text => element("span", { class: GRADES[text] ?? "bad" }, text.replace("-", " "));
const soft = text => element("span", { class: "soft" }, text);
const button = (text, act, target, only) => element("button", { type: "button", "data-act": act, "data-target": target, "data-only": only ?? null, "aria-label": `${text} ${target}` }, text);
// What of its target an override changes, and is cleared by itself.
const aspect = override => ({ add: "membership", remove: "membership", weight: "weight" })[override.action] ?? "standing";
// Overrides are kept by what steers; a site without it has none.
let keepsOverrides = true;
const buttons = thing => element("div", { class: "buttons" }, !keepsOverrides ? [] :
  thing.override ? button("Clear", "clear", thing.target, "standing") : [button("Drain", "drain", thing.target), button("Force down", "force-down", thing.target)]);

document.addEventListener("click", event => {
  const { act, target, only } = event.target.dataset ?? {};
  if (act === "clear") clear(target, only);
  else if (act) set(target, act);
});

// ---- words ----

const number = value => value === null || value === undefined ? "–" : value.toLocaleString(undefined, { maximumFractionDigits: 1 });

function span(seconds) {
  const units = [["d", 86400], ["h", 3600], ["min", 60]];
  for (const [unit, length] of units) if (seconds >= 2 * length) return `${Math.floor(seconds / length)} ${unit}`;
  return `${seconds < 10 ? seconds.toFixed(1) : Math.round(seconds)} s`;
}

const ACTIONS = { drain: "drained", "force-up": "forced up", "force-down": "forced down", add: "added", remove: "removed", weight: "weighted" };
const moment = seconds => new Date(seconds * 1000).toLocaleString();

function overrideWords(override) {
  const until = override.until ? ` until ${moment(override.until)}` : "";
  const weight = override.weight === undefined ? "" : ` with weight ${override.weight}${override.backup ? " as a backup" : ""}`;
  return `${ACTIONS[override.action] ?? override.action}${weight}${until}${override.reason ? `: ${override.reason}` : ""}`;
}

const endpoint = ({ address, port }) => port === 0 ? address : address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

// Of very many, those that are not well come first, and not all are shown.
const LISTED = 200;
const listed = (all, well) => all.length <= LISTED ? all : [...all.filter(one => !well(one)), ...all.filter(well)].slice(0, LISTED);
const isUp = thing => thing.state === "up";
const more = (count, path) => count > 0 ? element("p", { class: "soft" }, `and ${number(count)} more: `, element("a", { href: path }, "all")) : [];

// ---- sections ----

function amounts(dc) {
  const unit = dc.unit ?? "";
  const rejected = dc.rejected > 0 ? `, ${number(dc.rejected)} of it rejected` : "";
  const busy = dc.utilisation === null ? "" : `, ${percent(dc.utilisation)} busy`;
  if (dc.load !== null && dc.capacity !== null) return `${number(dc.load)} of ${number(dc.capacity)} ${unit}${rejected}${busy}`;
  if (dc.capacity !== null) return `load unknown, capacity ${number(dc.capacity)} ${unit}`;
  return dc.load !== null ? `${number(dc.load)} ${unit}` : null;
}

function reportAge(report) {
  if (!report) return null;
  if (report.age_seconds === null) return element("p", { class: "doubt" }, "no report yet");
  const age = `${span(report.age_seconds)} old`;
  return report.stale ? element("p", { class: "doubt" }, `stale report, ${age}`) : element("p", { class: "soft" }, `report, ${age}`);
}

function datacenter(dc) {
  const amount = amounts(dc);
  const bar = { min: 0, max: dc.capacity, value: dc.load, low: dc.capacity * 0.8, high: dc.capacity * 0.999, optimum: 0, "aria-label": `load of ${dc.name}` };
  return element("div", { class: "card" },
    element("h3", null, dc.name, " ", state(dc.state)),
    element("p", null, dc.members === 0 ? "in no pool" : `${dc.members_fit} of ${dc.members} pool members may be answered`),
    dc.load !== null && dc.capacity ? element("meter", bar) : null,
    amount === null ? null : element("p", null, amount, dc.room === "full" ? [" · ", state("full")] : []),
    reportAge(dc.report),
    dc.report?.error ? element("p", { class: "bad" }, dc.report.error) : null,
    dc.override ? element("p", { class: "doubt" }, overrideWords(dc.override)) : null,
    buttons(dc));
}

function pool(one) {
  const rows = one.members.map(member => [
    member.datacenter,
    [state(member.state)],
    member.targets.map(target => element("div", null, target.address, " ", state(target.state), target.reason ? soft(` ${target.reason}`) : null)),
    number(member.weight),
    member.reason ?? "",
    [buttons(member)],
  ]);
  const need = one.min_healthy > 1 ? `, ${one.min_healthy} needed` : "";
  return element("div", { class: "card" },
    element("h3", null, `${one.name} `, soft(one.zone), " ", state(one.up ? "up" : "down")),
    element("p", null, `${one.steer}, TTL ${one.ttl_min < one.ttl ? `${one.ttl_min} to ` : ""}${one.ttl} s; ${one.fit} of ${one.members.length} members may be answered${need}; when all are down: ${one.when_all_down}`),
    one.override ? element("p", { class: "doubt" }, overrideWords(one.override)) : null,
    buttons(one),
    table(["Datacenter", "State", "Addresses", "Weight", "Why", ""], rows));
}

const weightWords = backend => `${number(backend.weight)}${backend.weight_percent === 100 ? "" : ` at ${backend.weight_percent} %`}${backend.backup ? ", backup" : ""}`;

function service(one) {
  const kept = [["refused", one.refused_total], ["denied", one.denied_total], ["too fast", one.limited_total], ["datagrams dropped", one.dropped_total]].filter(([, count]) => count > 0);
  const shown = listed(one.backends, isUp);
  const rows = shown.map(backend => [
    backend.address, [state(backend.state)], number(backend.connections), weightWords(backend), [backend.override, ...backend.changes].filter(Boolean).map(overrideWords).join("; "), [buttons(backend)],
  ]);
  return element("div", { class: "card" },
    element("h3", null, `${one.name} `, soft(`${one.listen.join(", ")} · ${one.balance.kind}`)),
    element("p", null, `${number(one.connections)} connections${one.capacity_unit === "connections" ? ` of ${number(one.capacity)}` : ""}${one.connections_before > 0 ? ` (${number(one.connections_before)} in processes before this one)` : ""}, ${number(one.accepted_total)} in all${kept.map(([what, count]) => `, ${number(count)} ${what}`).join("")}`),
    table(["Backend", "State", "Connections", "Weight", "Why", ""], rows),
    more(one.backends.length - shown.length, "api/v1/l4"));
}

function from(secondary) {
  const { primaries, primary, refreshed, next, expires, last_error } = secondary;
  const at = (what, time) => time === null ? null : element("div", { class: "soft" }, `${what} ${moment(time)}`);
  return [
    element("div", null, primary ?? primaries.join(", ")),
    at("confirmed", refreshed), at("asked again", next), at("expires", expires),
    last_error ? element("div", { class: "bad" }, last_error) : null,
  ].filter(Boolean);
}

function render(status) {
  const files = status.load ? `, generation ${status.generation}, files read ${moment(status.load.loaded_at)}` : "";
  byId("server").textContent = `${status.version}, up ${span(status.uptime_seconds)}${files}`;
  byId("token-field").hidden = status.changes_need !== "token";
  const error = status.load?.last_error;
  byId("trouble").hidden = !error;
  byId("trouble").textContent = error ? `The files have a problem; what was read before is served on.\n${error}` : "";

  keepsOverrides = status.generation !== null;
  document.querySelectorAll(".steering").forEach(section => { section.hidden = !keepsOverrides; });
  const cards = status.datacenters.map(datacenter);
  show("datacenters", element("div", { class: "cards" }, cards.length ? cards : element("p", { class: "soft" }, "none")));
  show("pools", status.pools.length ? status.pools.map(pool) : element("p", { class: "soft" }, "none"));
  show("overrides", table(["Target", "What", "Since", ""], status.overrides.map(override =>
    [override.target, overrideWords(override), moment(override.since), [button("Clear", "clear", override.target, aspect(override))]])));
  byId("s-l4").hidden = status.l4.length === 0;
  const services = listed(status.l4, one => one.backends.every(isUp));
  show("l4", services.map(service), more(status.l4.length - services.length, "api/v1/l4"));
  show("zones", table(["Zone", "State", "Serial", "Names", "Steered names", "From"], status.zones.map(zone =>
    [zone.origin, [state(zone.state)], zone.serial === null ? "" : String(zone.serial), number(zone.names), number(zone.steered), zone.secondary ? from(zone.secondary) : "files"])),
    more(status.zones_total - status.zones.length, "api/v1/zones"));
  const probes = listed(status.probes, isUp);
  show("probes", table(["Probe", "How", "State", "Result", "Took"], probes.map(probe =>
    [probe.name, `${probe.kind} ${endpoint(probe)}`, [state(probe.state)], probe.last_result ?? "", probe.last_duration_ms === null ? "" : `${number(probe.last_duration_ms)} ms`])),
    more(status.probes.length - probes.length, "api/v1/status"));
  const { out, notify } = status.transfers ?? { out: {}, notify: [] };
  byId("s-transfers").hidden = !(out.started_full + out.started_incremental + out.busy > 0) && notify.length === 0;
  show("transfers", element("p", null, `${number(out.completed)} zones sent, ${number(out.aborted)} broken off, ${number(out.busy)} not begun, ${number(out.running)} on their way`),
    table(["Zone", "Told", "State", "Serial", "Since", "Trouble"], notify.map(one =>
      [one.origin, one.target, [state(one.state)], String(one.serial), moment(one.since), one.error ?? ""])));
  const names = status.names;
  byId("s-names").hidden = names.first.length === 0;
  const total = names.fresh + names.stale + names.empty + names.unknown;
  show("names", table(["Name", "State", "Addresses", "Resolved", "Trouble"], names.first.map(name =>
    [name.name, [state(name.state)], name.addresses.join(", "), name.resolved_at === null ? "" : moment(name.resolved_at), name.last_error ?? ""])),
    more(total - names.first.length, "api/v1/names"));
  byId("s-dns").hidden = !status.dns;
  if (status.dns) show("dns", table(["Outcome", "Messages"], Object.entries(status.dns.outcomes).filter(([, count]) => count > 0).map(([name, count]) => [name, number(count)])));

  const targets = [status.datacenters, status.pools, ...status.pools.map(one => one.members), ...status.l4.map(one => one.backends)];
  show("services", status.l4.map(one => element("option", { value: one.name })));
  show("targets", targets.flat().slice(0, 5 * LISTED).map(thing => element("option", { value: thing.target })));
}

// ---- forms ----

const values = form => Object.fromEntries([...new FormData(form)].filter(([, value]) => value.trim() !== ""));

byId("override").addEventListener("submit", event => {
  event.preventDefault();
  const { target, action, weight, ...rest } = values(event.target);
  const takesWeight = weight !== undefined && (action === "add" || action === "weight");
  set(target, action, takesWeight ? { weight: Number(weight), ...rest } : rest);
});

for (const [form, answered] of [["explain", "explained"], ["explain-flow", "explained-flow"]]) {
  byId(form).addEventListener("submit", async event => {
    event.preventDefault();
    const place = byId(answered);
    try {
      const answer = await fetch(`api/v1/explain?${new URLSearchParams(values(event.target))}`, { headers: { Accept: "text/plain" } });
      const text = await answer.text();
      place.textContent = answer.ok ? text : Object.values(JSON.parse(text)).join("\n");
    } catch (error) {
      place.textContent = error.message;
    }
    place.hidden = false;
  });
}

// ---- the clockwork ----

async function refresh() {
  try {
    render(await call("GET", "status"));
    await refreshPlan();
  } catch (error) {
    byId("trouble").hidden = false;
    byId("trouble").textContent = `The server does not answer; what is below may be old. ${error.message}`;
  }
}

async function tick() {
  if (!document.hidden) await refresh();
  setTimeout(tick, PERIOD_MS);
}

tick();
