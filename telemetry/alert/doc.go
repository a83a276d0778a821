// Package alert watches metrics and tells people.
//
// Terms:
//
//	rule      a PromQL expression whose results are what is wrong, for how long
//	          they must last, and how bad that is
//	alert     one result of a rule: a set of labels; pending, firing, resolved
//	receiver  whom to tell, and how: webhook, Slack, mail
//	group     the alerts of one app for one receiver; they travel together
//	silence   labels whose alerts are not told until a time
//
// An alert's life:
//
//	(nothing) ──result──▶ pending ──for──▶ firing ──two rounds without──▶ resolved ──told──▶ (nothing)
//	              ▲            │no result                │result again
//	              └────────────┘            └──────────────▶ firing
//
// Invariants: a receiver is told that an alert fires once, and again each repeat
// interval while it does; it is told that one resolved only if it was told that
// it fired. All state is on disk before anybody is told, so that a restart tells
// nobody twice and forgets nothing.
package alert
