//! Every metric's name, in one place.

/// Reads answered from memory.
pub const HITS: &str = "nearside_l1_hits_total";
/// Cacheable reads that went upstream.
pub const MISSES: &str = "nearside_l1_misses_total";
/// Reads served stale while the upstream was lost, by key space.
pub const STALE_SERVED: &str = "nearside_cache_stale_served_total";
/// Replies put into L1.
pub const FILLS: &str = "nearside_l1_fills_total";
/// Fills refused.
pub const FILLS_REFUSED: &str = "nearside_l1_fills_refused_total";
/// Shadow mode: answers that L1 would have given, by key space and by what the upstream answered.
pub const SHADOW: &str = "nearside_l1_shadow_reads_total";
/// Keys invalidated by pushes.
pub const INVALIDATIONS: &str = "nearside_l1_invalidations_total";
/// Drops of everything.
pub const CLEARS: &str = "nearside_l1_clears_total";
/// Entries evicted.
pub const EVICTIONS: &str = "nearside_l1_evictions_total";
/// Accounted bytes of L1.
pub const BYTES: &str = "nearside_l1_bytes";
/// Entries of L1.
pub const ENTRIES: &str = "nearside_l1_entries";
/// Open client sessions.
pub const SESSIONS: &str = "nearside_sessions";
/// Tasks of sessions and lanes.
pub const TASKS: &str = "nearside_tasks";
/// 1 from the time on that an end was asked for.
pub const DRAINING: &str = "nearside_draining";
/// Lanes that are up.
pub const LANE_UP: &str = "nearside_lane_up";
/// The same, by whether the upstream tracks what they read.
pub const LANES: &str = "nearside_lanes";
/// Where a node's circuit breaker stands: 0 lets requests through, 1 probes, 2 lets none through.
pub const BREAKER: &str = "nearside_circuit_breaker_state";
/// Whether it stands there by an operator's order.
pub const BREAKER_FORCED: &str = "nearside_circuit_breaker_forced";
/// How often it went where, and why.
pub const BREAKER_TRANSITIONS: &str = "nearside_circuit_breaker_transitions_total";
/// Requests on lanes that wait for their reply.
pub const IN_FLIGHT: &str = "nearside_upstream_requests_in_flight";
/// Requests refused because too many were in flight.
pub const OVERLOADED: &str = "nearside_upstream_overloaded_total";
/// Reads whose lane was lost: sent again, or not since too many were.
pub const RETRIES: &str = "nearside_upstream_retries_total";
/// Operations that were to be sent to the receiver of traces.
pub const TRACES_SAMPLED: &str = "nearside_traces_sampled_total";
/// Those of them that it took.
pub const TRACES_EXPORTED: &str = "nearside_traces_exported_total";
/// Those of them that it did not get, or did not take, by reason.
pub const TRACES_DROPPED: &str = "nearside_traces_dropped_total";
/// Those of them that wait to be sent.
pub const TRACES_WAITING: &str = "nearside_traces_waiting";
/// Spans that the receiver refused out of requests that it took.
pub const TRACES_REJECTED_SPANS: &str = "nearside_traces_rejected_spans_total";
