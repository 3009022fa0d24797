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
/// Hits that were read from the upstream as well, by what came of it.
pub const AUDITED: &str = "nearside_audited_reads_total";
/// Of these, those that were not what the upstream had for no reason known, by key space.
pub const INCOHERENT: &str = "nearside_incoherent_reads_total";
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
