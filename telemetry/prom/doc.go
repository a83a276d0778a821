// Package prom keeps metrics: instruments in memory, Prometheus's time series
// database on disk, PromQL over it, and Prometheus's read API, so that Grafana
// can use a node as a data source.
//
//	records of calls ─▶ instruments ◀─ collectors (pools, queues, budgets)
//	custom metrics ───▶     │
//	                        ├─▶ GET /metrics (text)
//	                        └─▶ each interval: TSDB ─▶ PromQL ─▶ /api/v1/…, alerts
//
// Names follow OpenTelemetry's FaaS conventions as Prometheus writes them:
// faas.invocations is faas_invocations_total. Histograms are native
// (exponential, eight buckets an octave) in the TSDB, where one takes a single
// series, and have classic buckets at powers of two in the text.
//
// The database is opened by Run, in the background: until then the instruments
// count, and queries answer unavailable.
package prom
