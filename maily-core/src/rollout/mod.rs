//! Rollout health: pure judgement of what a workload shows.
