//! Every metric's name, in one place; what each of them means is in `catalogue`.

/// Cacheable reads and what they put in, writes, by level. The name is fixed: others' dashboards have it.
pub const CACHE_OPERATIONS: &str = "cache_operations_total";
/// Share of the reads of the last minute that a level could answer. The name is fixed, too.
pub const CACHE_HIT_RATIO: &str = "cache_hit_ratio";
/// Reads answered from memory.
pub const HITS: &str = "nearside_l1_hits_total";
/// Cacheable reads not answered from memory, by why.
pub const MISSES: &str = "nearside_l1_misses_total";
/// Reads served stale while the upstream was lost, by key space.
pub const STALE_SERVED: &str = "nearside_cache_stale_served_total";
/// Replies put into L1.
pub const FILLS: &str = "nearside_l1_fills_total";
/// Fills refused, by why.
pub const FILLS_REFUSED: &str = "nearside_l1_fills_refused_total";
/// Shadow mode: answers that L1 would have given, by key space and by what the upstream answered.
pub const SHADOW: &str = "nearside_l1_shadow_reads_total";
/// Hits that were read from the upstream as well, by what came of it.
pub const AUDITED: &str = "nearside_audited_reads_total";
/// Of these, those that were not what the upstream had for no reason known, by key space.
pub const INCOHERENT: &str = "nearside_incoherent_reads_total";
/// Keys invalidated, by what did it.
pub const INVALIDATIONS: &str = "nearside_l1_invalidations_total";
/// Drops of everything.
pub const CLEARS: &str = "nearside_l1_clears_total";
/// Entries evicted.
pub const EVICTIONS: &str = "nearside_l1_evictions_total";
/// Accounted bytes of L1.
pub const BYTES: &str = "nearside_l1_bytes";
/// Bound on the accounted bytes.
pub const MAX_BYTES: &str = "nearside_l1_max_bytes";
/// Entries of L1.
pub const ENTRIES: &str = "nearside_l1_entries";
/// How long commands took, by command and route.
pub const COMMAND_DURATION: &str = "nearside_command_duration_seconds";
/// Commands answered with an error.
pub const COMMAND_ERRORS: &str = "nearside_command_errors_total";
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
/// How long ago the lane that was heard longest ago was heard.
pub const PROOF_AGE: &str = "nearside_lane_proof_age_seconds";
/// Bytes held for clients, requests and replies.
pub const BUFFERED: &str = "nearside_buffered_bytes";
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
/// How long the upstream took, as lanes see it.
pub const UPSTREAM_DURATION: &str = "nearside_upstream_request_duration_seconds";
/// Connections to the upstream, by what they are for.
pub const CONNECTIONS: &str = "nearside_upstream_connections";
/// Keys that the upstream tracks, for all its clients.
pub const TRACKING_ITEMS: &str = "nearside_upstream_tracking_total_items";
/// Requests for leases that have ended, by resource and by how. The name is fixed: others' dashboards have it.
pub const ALLOCATIONS: &str = "resource_allocations_total";
/// What the leases that this nearside gave hold of a resource, by component. The name is fixed, too.
pub const UTILIZATION: &str = "resource_utilization_ratio";
/// How long requests for leases took. The name is fixed, too.
pub const ALLOCATION_DURATION: &str = "resource_allocation_duration_seconds";
/// Leases that this nearside gave and that live.
pub const LEASES_ACTIVE: &str = "nearside_resource_leases_active";
/// Of these, those that ended without being given back, by why.
pub const LEASE_EXPIRATIONS: &str = "nearside_resource_lease_expirations_total";
/// How long requests waited that had to.
pub const WAIT_DURATION: &str = "nearside_resource_wait_duration_seconds";
/// Requests that wait.
pub const WAIT_QUEUE: &str = "nearside_resource_wait_queue_depth";
/// How much there is of a resource.
pub const CAPACITY: &str = "nearside_resource_capacity";
/// How much of it is promised.
pub const ALLOCATED: &str = "nearside_resource_allocated";
/// Whether the ledger of leases is reached.
pub const LEDGER_UP: &str = "nearside_ledger_up";
/// Where its circuit breaker stands.
pub const LEDGER_BREAKER: &str = "nearside_ledger_circuit_breaker_state";
/// How long its answers took, by what was asked.
pub const LEDGER_DURATION: &str = "nearside_ledger_request_duration_seconds";
/// Calls that it did not answer, by why.
pub const LEDGER_ERRORS: &str = "nearside_ledger_errors_total";
/// How often it had lost data.
pub const LEDGER_LOSSES: &str = "nearside_ledger_losses_total";
/// Leases that were asserted again for that, by what became of them.
pub const LEDGER_REASSERTED: &str = "nearside_ledger_leases_reasserted_total";
/// Leases in it, of all nearsides.
pub const LEDGER_LEASES: &str = "nearside_ledger_leases";
/// Requests that wait in it, of all nearsides.
pub const LEDGER_WAITING: &str = "nearside_ledger_requests_waiting";
/// What runs here.
pub const BUILD_INFO: &str = "nearside_build_info";
/// CPU time of the process.
pub const PROCESS_CPU: &str = "process_cpu_seconds_total";
/// Memory that it has.
pub const PROCESS_RESIDENT: &str = "process_resident_memory_bytes";
/// Address space that it has.
pub const PROCESS_VIRTUAL: &str = "process_virtual_memory_bytes";
/// File descriptors that it has.
pub const PROCESS_FDS: &str = "process_open_fds";
/// File descriptors that it may have.
pub const PROCESS_MAX_FDS: &str = "process_max_fds";
/// When it began.
pub const PROCESS_START: &str = "process_start_time_seconds";
/// Its threads.
pub const PROCESS_THREADS: &str = "process_threads";
/// Operations that were to be sent to a receiver of traces.
pub const TRACES_SAMPLED: &str = "nearside_traces_sampled_total";
/// Those that it took.
pub const TRACES_EXPORTED: &str = "nearside_traces_exported_total";
/// Those that it did not get, or did not take, by reason.
pub const TRACES_DROPPED: &str = "nearside_traces_dropped_total";
/// Those of them that wait to be sent.
pub const TRACES_WAITING: &str = "nearside_traces_waiting";
/// Spans that the receiver refused out of requests that it took.
pub const TRACES_REJECTED_SPANS: &str = "nearside_traces_rejected_spans_total";
