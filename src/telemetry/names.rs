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
/// Lanes that are up.
pub const LANE_UP: &str = "nearside_lane_up";
/// The same, by whether the upstream tracks what they read.
pub const LANES: &str = "nearside_lanes";
/// 0 closed, 1 half-open, 2 open.
pub const BREAKER: &str = "nearside_circuit_breaker_state";
