// Package identity says who calls and what they may do.
//
// Terms:
//
//	caller      who asks: an administrator by token, a function by its listener
//	grant       a line of a function's `allow`, such as "read kv/sessions"
//	policy      a grant compiled to Cedar; no policy that permits means denied
//	decision    the answer to one question, given to the audit
//	trail       the audit: equal decisions are counted, and kept for some days
//	token       the administrator's credential, a file in the data folder
//
// An administrator and the platform itself may do everything. A function may do
// to resources of its own app what its grants say, and nothing to another app's.
// Everyone else is refused. Cedar is used by this package alone.
package identity
