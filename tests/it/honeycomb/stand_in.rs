//! A stand-in for Honeycomb's API that takes only what it documents, and adds defaults to what it is given, as the
//! real one does.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

pub(super) const KEY: &str = "dummy-configuration-key";
const DATASET: &str = "cruddur-backend";
const OPS: [&str; 22] = [
    "COUNT",
    "CONCURRENCY",
    "SUM",
    "AVG",
    "COUNT_DISTINCT",
    "MAX",
    "MIN",
    "P001",
    "P01",
    "P05",
    "P10",
    "P20",
    "P25",
    "P50",
    "P75",
    "P80",
    "P90",
    "P95",
    "P99",
    "P999",
    "HEATMAP",
    "RATE_AVG",
];
const FILTERS: [&str; 12] =
    ["=", "!=", ">", ">=", "<", "<=", "starts-with", "contains", "exists", "does-not-exist", "in", "not-in"];
const MOST_ROWS: i64 = 1_000;

#[derive(Debug, Default)]
struct State {
    calls: usize,
    /// What has changed something, since it was last asked for.
    writes: Vec<String>,
    queries: BTreeMap<String, Value>,
    annotations: BTreeMap<String, Value>,
    boards: BTreeMap<String, Value>,
    markers: Vec<Value>,
    issued: usize,
}

pub(super) struct Honeycomb {
    pub(super) url: String,
    state: Arc<Mutex<State>>,
    _tasks: JoinSet<()>,
}

impl Honeycomb {
    pub(super) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let state = Arc::<Mutex<State>>::default();
        let shared = Arc::clone(&state);
        let take = async move |method: Method, uri: Uri, headers: HeaderMap, body: Bytes| {
            shared.lock().unwrap().take(&method, uri.path(), &headers, &body)
        };
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { axum::serve(listener, Router::new().fallback(take)).await.unwrap() });
        Self { url, state, _tasks: tasks }
    }

    /// What was changed since this was last asked, such as `POST query`.
    pub(super) fn writes(&self) -> Vec<String> {
        std::mem::take(&mut self.state.lock().unwrap().writes)
    }

    pub(super) fn calls(&self) -> usize {
        self.state.lock().unwrap().calls
    }

    pub(super) fn markers(&self) -> Vec<Value> {
        self.state.lock().unwrap().markers.clone()
    }

    /// The names of what the one board shows, in order.
    pub(super) fn shown(&self) -> Vec<String> {
        let state = self.state.lock().unwrap();
        assert_eq!(state.annotations.len(), 8, "one for each query, and none left behind");
        let [board] = state.boards.values().collect::<Vec<_>>()[..] else { panic!("{:?}", state.boards) };
        let panels = board["panels"].as_array().unwrap().iter();
        let named =
            panels.map(|panel| &state.annotations[id_of(&panel["query_panel"]["query_annotation_id"])]);
        named.map(|annotation| annotation["name"].as_str().unwrap().to_owned()).collect()
    }
}

fn id_of(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

type Answer = Result<Value, (StatusCode, String)>;

fn unprocessable(why: &str) -> (StatusCode, String) {
    (StatusCode::UNPROCESSABLE_ENTITY, json!({"error": why}).to_string())
}

impl State {
    fn take(&mut self, method: &Method, path: &str, headers: &HeaderMap, body: &[u8]) -> Response {
        self.calls += 1;
        let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        if header("x-honeycomb-team") != Some(KEY) {
            return (StatusCode::UNAUTHORIZED, r#"{"error":"unknown API key - check your credentials"}"#)
                .into_response();
        }
        if header("content-type") != Some("application/json") {
            return StatusCode::UNSUPPORTED_MEDIA_TYPE.into_response();
        }
        let body = if body.is_empty() { Value::Null } else { serde_json::from_slice(body).unwrap() };
        let parts: Vec<_> = path.trim_start_matches("/1/").split('/').collect();
        match self.answer(method, &parts, body) {
            Ok(answer) => answer.to_string().into_response(),
            Err(refusal) => refusal.into_response(),
        }
    }

    fn answer(&mut self, method: &Method, parts: &[&str], body: Value) -> Answer {
        let listed = |all: &BTreeMap<String, Value>| Ok(all.values().cloned().collect());
        match (method.as_str(), parts) {
            ("GET", ["query_annotations", DATASET]) => listed(&self.annotations),
            ("GET", ["boards"]) => listed(&self.boards),
            ("GET", ["queries", DATASET, id]) if self.queries.contains_key(*id) => {
                Ok(self.queries[*id].clone())
            }
            ("POST", ["queries", DATASET]) => self.take_query(body),
            ("POST", ["query_annotations", DATASET]) => self.take_annotation(body),
            ("POST", ["boards"]) if self.boards.is_empty() => self.take_board("POST", None, body),
            ("PUT", ["boards", id]) if self.boards.contains_key(*id) => {
                self.take_board("PUT", Some(*id), body)
            }
            ("POST", ["markers", DATASET]) => self.take_marker(body),
            ("DELETE", ["query_annotations", DATASET, id]) => self.remove(id),
            _ => Err((StatusCode::NOT_FOUND, format!("{method} {parts:?} is not for now"))),
        }
    }

    fn issue(&mut self, write: &str) -> String {
        self.writes.push(write.to_owned());
        self.issued += 1;
        format!("id{}", self.issued)
    }

    fn take_query(&mut self, mut query: Value) -> Answer {
        if let Some(mistake) = query_mistakes(&query).first() {
            return Err(unprocessable(mistake));
        }
        let id = self.issue("POST query");
        for (key, default) in [
            ("id", json!(id)),
            ("granularity", json!(0)),
            ("limit", json!(100)),
            ("filter_combination", json!("AND")),
        ] {
            if query.get(key).is_none() {
                query[key] = default;
            }
        }
        self.queries.insert(id, query.clone());
        Ok(query)
    }

    fn take_annotation(&mut self, mut annotation: Value) -> Answer {
        if keys(&annotation) != ["description", "name", "query_id"]
            || !self.queries.contains_key(id_of(&annotation["query_id"]))
            || !annotation["name"].as_str().is_some_and(|name| (1..=320).contains(&name.len()))
            || annotation["description"].as_str().is_none_or(|text| text.len() > 1023)
        {
            return Err(unprocessable("not an annotation"));
        }
        let id = self.issue("POST annotation");
        annotation["id"] = json!(id);
        self.annotations.insert(id, annotation.clone());
        Ok(annotation)
    }

    fn take_board(&mut self, method: &str, known: Option<&str>, mut board: Value) -> Answer {
        let is_panel = |panel: &Value| {
            let shown = &panel["query_panel"];
            keys(panel) == ["query_panel", "type"]
                && panel["type"] == "query"
                && keys(shown) == ["query_annotation_id", "query_id", "query_style"]
                && ["graph", "table", "combo"].contains(&id_of(&shown["query_style"]))
                && self
                    .annotations
                    .get(id_of(&shown["query_annotation_id"]))
                    .is_some_and(|annotation| annotation["query_id"] == shown["query_id"])
        };
        if keys(&board) != ["description", "layout_generation", "name", "panels", "type"]
            || board["type"] != "flexible"
            || !["auto", "manual"].contains(&id_of(&board["layout_generation"]))
            || !board["panels"].as_array().is_some_and(|panels| panels.iter().all(is_panel))
        {
            return Err(unprocessable("not a board"));
        }
        let issued = self.issue(&format!("{method} board"));
        let id = known.map_or(issued, str::to_owned);
        board["id"] = json!(id);
        self.boards.insert(id, board.clone());
        Ok(board)
    }

    fn take_marker(&mut self, marker: Value) -> Answer {
        if keys(&marker) != ["message", "start_time", "type", "url"]
            || marker["type"] != "deploy"
            || marker["start_time"].as_i64().is_none_or(|seconds| seconds <= 1_700_000_000)
        {
            return Err(unprocessable("not a marker"));
        }
        self.issue("POST marker");
        self.markers.push(marker.clone());
        Ok(marker)
    }

    fn remove(&mut self, id: &str) -> Answer {
        let is_shown = self.boards.values().any(|board| board.to_string().contains(&format!("\"{id}\"")));
        if is_shown || self.annotations.remove(id).is_none() {
            return Err((StatusCode::CONFLICT, format!("{id} cannot be removed")));
        }
        self.issue("DELETE annotation");
        Ok(json!({}))
    }
}

fn keys(value: &Value) -> Vec<&str> {
    let mut keys: Vec<_> =
        value.as_object().into_iter().flat_map(|members| members.keys()).map(String::as_str).collect();
    keys.sort_unstable();
    keys
}

/// What is wrong with a query, by "Query specification" of Honeycomb's documentation.
pub(super) fn query_mistakes(query: &Value) -> Vec<String> {
    const KEYS: [&str; 7] =
        ["breakdowns", "calculations", "filter_combination", "filters", "limit", "orders", "time_range"];
    let unknown = keys(query).into_iter().filter(|key| !KEYS.contains(key));
    let mut mistakes: Vec<_> = unknown.map(|key| format!("unknown key {key}")).collect();
    let list = |key: &str| query[key].as_array().into_iter().flatten();
    for calculation in list("calculations") {
        mistakes.extend(calculation_mistake(calculation));
    }
    for filter in list("filters") {
        mistakes.extend(filter_mistake(filter));
    }
    for order in list("orders") {
        mistakes.extend(order_mistake(order, query));
    }
    if !list("breakdowns").all(|column| column.as_str().is_some_and(|name| !name.is_empty())) {
        mistakes.push("breakdowns are names of columns".to_owned());
    }
    if !["AND", "OR"].contains(&query["filter_combination"].as_str().unwrap_or("AND")) {
        mistakes.push("filter_combination is AND or OR".to_owned());
    }
    if !(1..=MOST_ROWS).contains(&query.get("limit").map_or(1, |limit| limit.as_i64().unwrap_or(0))) {
        mistakes.push(format!("limit is from 1 to {MOST_ROWS}"));
    }
    if query["time_range"].as_i64().is_none_or(|seconds| seconds < 1) {
        mistakes.push("time_range is a number of seconds".to_owned());
    }
    mistakes
}

fn calculation_mistake(calculation: &Value) -> Option<String> {
    let op = id_of(&calculation["op"]);
    match (keys(calculation)[..] == ["column", "op"], ["COUNT", "CONCURRENCY"].contains(&op)) {
        _ if !OPS.contains(&op) => Some(format!("no calculation {op}")),
        (true, true) => Some(format!("{op} has no column")),
        (false, false) => Some(format!("{op} has a column")),
        _ => None,
    }
}

fn filter_mistake(filter: &Value) -> Option<String> {
    let op = id_of(&filter["op"]);
    match (filter.get("value").is_some(), op.ends_with("exist") || op == "exists") {
        _ if !FILTERS.contains(&op) => Some(format!("no filter {op}")),
        _ if !filter["column"].is_string() => Some("a filter has a column".to_owned()),
        (true, true) => Some(format!("{op} has no value")),
        (false, false) => Some(format!("{op} has a value")),
        _ => None,
    }
}

fn order_mistake(order: &Value, query: &Value) -> Option<String> {
    let same = |part: &Value| part.get("op") == order.get("op") && part.get("column") == order.get("column");
    let calculated = query["calculations"].as_array().into_iter().flatten().any(same);
    let direction = id_of(&order["order"]);
    match calculated {
        _ if !["ascending", "descending"].contains(&direction) => Some(format!("no order {direction}")),
        false => Some("orders by what it does not calculate".to_owned()),
        // A heatmap has no order.
        true => (order["op"] == "HEATMAP").then(|| "HEATMAP has no order".to_owned()),
    }
}
