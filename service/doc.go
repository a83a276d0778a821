// Package service is the contract of the data services that apps declare and
// functions use: buckets, key-value stores, databases and secrets. Each is a
// driver one folder below.
//
// Terms:
//
//	driver     one kind of service, for all apps of a node
//	resource   one bucket, store, database or secret of an app
//	door       a loopback port inside every sandbox where a driver answers; the
//	           listener tells who asks, so that functions hold no credential
//	grant      a line of a function's `allow` that permits a verb on a resource
//
// A deploy goes through every driver twice: Check reads the manifest and says
// what is wrong with it, Apply creates what it declares. Removing a resource
// from a manifest never removes its data.
package service
