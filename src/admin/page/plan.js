"use strict";
// The section of the plan: which clients go where by capacity, and what the loss of a datacenter would mean.

const PLAN_STATES = {
  none: ["doubt", "there is no plan: clients go to the nearest datacenter with room"],
  calm: ["good", "calm: every datacenter is under its wall"],
  "near-wall": ["doubt", "a datacenter is at its wall: others take what it cannot"],
  overloaded: ["bad", "there is more demand than capacity"],
  panic: ["bad", "so much is down at once that it is not believed yet"],
  "fail-static": ["bad", "no report is live: the last plan is held"],
};
const MOST_ROWS = 25;

const percent = share => `${(share * 100).toLocaleString(undefined, { maximumFractionDigits: share > 0 && share < 0.0995 ? 1 : 0 })} %`;

function drawing(tag, attributes, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

// The reported load as a bar, the planned one as a mark under it; lines at the wall and at the capacity.
function loadBar(dc) {
  const reported = dc.reported_load ?? dc.predicted_load;
  const whole = Math.max(dc.capacity, reported, dc.planned_load) * 1.02 || 1;
  const at = value => `${(100 * value / whole).toFixed(2)}%`;
  const wall = dc.capacity * dc.wall;
  const grade = reported > dc.capacity ? "over" : reported > wall ? "near" : "under";
  const line = (value, name) => drawing("line", { class: name, x1: at(value), x2: at(value), y1: 0, y2: 18 });
  const words = `${dc.name}: ${number(reported)} of ${number(dc.capacity)}, planned ${number(dc.planned_load)}, wall at ${number(wall)}`;
  return drawing("svg", { class: "load", role: "img", "aria-label": words },
    drawing("rect", { class: "room", x: 0, y: 2, width: at(dc.capacity), height: 14 }),
    drawing("rect", { class: grade, x: 0, y: 2, width: at(reported), height: 10 }),
    drawing("rect", { class: "planned", x: 0, y: 13, width: at(dc.planned_load), height: 3 }),
    line(wall, "wall"), line(dc.capacity, "capacity"));
}

const PLANNED_GRADES = { up: "good", ramping: "doubt", draining: "doubt", down: "bad" };

function plannedDatacenter(dc) {
  const of = dc.capacity === null ? "no capacity known: unlimited" : `capacity ${number(dc.capacity)}, wall at ${percent(dc.wall)}`;
  const reported = dc.reported_load === null ? "no live report" : `${number(dc.reported_load)} reported`;
  return element("div", { class: "card" },
    element("h3", null, dc.name, " ", element("span", { class: PLANNED_GRADES[dc.state] ?? "bad" }, dc.state)),
    dc.capacity ? loadBar(dc) : null,
    element("p", null, `${reported}, ${number(dc.predicted_load)} predicted, ${number(dc.planned_load)} planned`),
    element("p", { class: "soft" }, `${of}; price ${number(dc.price_ms)} ms`),
    dc.inferred_capacity === null ? null : element("p", { class: "doubt" }, `its load and utilisation tell a capacity of ${number(dc.inferred_capacity)}`));
}

function lossCells(dc) {
  const loss = dc.loss;
  const said = loss.survives ? element("span", { class: "good" }, "the others take it")
    : element("span", { class: "bad" }, `${number(loss.overflow)} too much (${percent(loss.overflow_fraction)} of all)`);
  const fullest = loss.fullest ? `${loss.fullest[0]}, at ${percent(loss.fullest[1])}` : "";
  const to = loss.goes_to.map(([name, more]) => `${name} +${number(more)}`).join(", ");
  return [dc.name, [said], fullest, to];
}

function groupCells(group) {
  const parts = group.parts.map(part => `${part.datacenter}${group.parts.length === 1 ? "" : ` ${percent(part.share)}`} (${number(part.cost_ms)} ms)`);
  return [group.group, `${group.pool} of ${group.zone}`, number(group.demand), `${group.ttl} s`, parts.join(", ")];
}

function groupTable(groups, total, what) {
  const shown = groups.slice(0, MOST_ROWS);
  if (shown.length === 0) return [];
  const count = shown.length < total ? `the ${shown.length} heaviest of ${number(total)}` : number(total);
  return [element("h3", null, `${what} `, soft(`(${count})`)), table(["Group", "Pool", "Demand", "TTL", "Sent to"], shown.map(groupCells))];
}

function renderPlan(plan) {
  const [grade, words] = PLAN_STATES[plan.state] ?? ["doubt", plan.state];
  const age = plan.age_seconds === null ? "" : `; worked out ${span(plan.age_seconds)} ago in ${number(plan.work.last_solve_seconds * 1000)} ms`;
  const parts = [
    element("p", null, element("span", { class: grade }, words), plan.reason ? ` (${plan.reason})` : null),
  ];
  if (plan.state !== "none") {
    const losses = plan.datacenters.filter(dc => dc.loss);
    parts.push(
      element("p", { class: "soft" }, `${number(plan.demand)} ${plan.unit ?? ""} expected from ${plan.groups_total === 1 ? "1 client group" : `${number(plan.groups_total)} client groups`}${age}`),
      plan.work.refused_total > 0 ? element("p", { class: "bad" }, `${number(plan.work.refused_total)} plans did not pass the checks; the latest: ${plan.work.last_refusal ?? ""}`) : null,
      element("p", { class: "soft" }, "Bars: the reported load, and thin under it the planned one. Dashed: the wall; solid: the capacity."),
      element("div", { class: "cards" }, plan.datacenters.map(plannedDatacenter)),
      ...(losses.length ? [element("h3", null, "If a datacenter is lost"), table(["Lost", "What happens", "The fullest then", "Its clients go to"], losses.map(lossCells))] : []),
      ...groupTable(plan.groups.filter(group => group.parts.length > 1), plan.groups_split, "Client groups that are split"),
      ...groupTable(plan.groups.filter(group => group.parts.length <= 1), plan.groups_total - plan.groups_split, "Client groups"));
  }
  show("plan", parts.filter(part => part !== null));
}

// A server that does not plan, or of another version, has no such section.
async function refreshPlan() {
  let plan = null;
  try {
    plan = await call("GET", "plan");
  } catch { /* there is none */ }
  byId("s-plan").hidden = !plan || plan.pools.length === 0;
  if (plan) renderPlan(plan);
}
