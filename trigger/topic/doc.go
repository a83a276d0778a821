// Package topic carries CloudEvents from publishers to subscribers: functions
// with `on: topic`, and URLs under `webhooks:`.
//
//	publish ──▶ journal (EVENTS) ──▶ dispatcher ──▶ a lane for each subscription ──▶ function
//	            kept for replay      filters        (DELIVER logs)                   or URL
//
// An event is accepted when it is in the journal. The dispatcher reads the
// journal in order, matches each event with the subscriptions there are at that
// moment, and puts it into the lane of each; so one that is slow or fails holds
// itself only. It notes how far it is a few times a second: after kill -9, the
// events since then are dispatched twice.
//
// A topic pattern is a topic's name, in which * stands for one part between
// dots and ** for any number of them: order.*, **, eu.**.error.
//
// A transform is a JSON value in which a text "$.data.total" becomes what is
// there in the event, "$" the event, and "<$.data.name>" within a longer text
// the text of it. What is not there becomes null, or nothing within a text.
package topic
