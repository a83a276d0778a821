// Package secret keeps apps' secrets: set, versions, staged rotation, delivery
// to functions, redaction of what functions print.
//
// Terms:
//
//	root key   32 random bytes in a file of the data folder, or a key of a transit
//	           engine (OpenBao); it seals the keyset
//	keyset     the Tink keyset (AES256-GCM) that seals values; kept sealed in
//	           the engine's index
//	version    one value of a secret, numbered from 1; sealed with the app, the
//	           name and the number as associated data, so that it cannot be
//	           passed off as another
//	current    the version that functions get
//	pending    a version that is staged until it is finished
//
// A rotation is four calls, by an operator or by a function on a schedule with
// the grants "read" and "write" on the secret: create and set a pending version,
// test it, finish it. The version before stays until finish, and can be read by
// its number afterwards.
//
// Values are in memory only while they are used, but for those that the
// redactor looks for.
package secret
