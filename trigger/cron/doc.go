// Package cron calls functions at times: by a cron expression, at an interval,
// or once.
//
//	schedule: "0 3 * * *"                    minute hour day-of-month month day-of-week,
//	                                         in timezone:; seconds may come before
//	schedule: "@daily"                       also @hourly, @weekly, @monthly, @yearly
//	schedule: every 5m                       counted from start:, else from 1970 in UTC
//	schedule: at 2026-12-01T08:00:00Z        once
//
// A firing is known by its nominal time. It is claimed by a compare-and-set of
// the app's record in the engine, and then accepted as an asynchronous call
// under an id made of the schedule and the nominal time; after a crash between
// the two it is accepted again under the same id. So a firing is one call, in a
// cluster too; the call runs at least once, as all asynchronous calls do.
//
// Where both day fields are restricted, either one that matches will do, as in
// every crontab. Day fields know L, W and #.
//
// Daylight saving time. A fixed time that a clock skips in spring fires once, on
// that day an hour later by the clock: 2:30 at 3:30. One that comes twice in autumn
// fires the first time only. A schedule for every hour (an hour field of "*")
// follows the elapsed time, and so fires in both.
//
// Firings that were missed while nothing ran (by more than a minute): with
// missed: once, the default, the latest of them fires, late; with skip, none;
// with all, every one, at most a thousand, the oldest left out.
package cron
