// Package bucket is the object service: the S3 API over files, with
// notifications, lifecycle, quotas and public buckets.
//
// Terms:
//
//	bucket   one app's bucket, declared under `buckets:`
//	folder   where a bucket's objects are, APP.BUCKET below the data folder
//	key      a pair of S3 credentials: one of the administrator, one per function,
//	         and those issued to people and tools for the buckets of one app
//	account  somebody else with a key, whom the administrator made; it has rights
//	         to buckets that no app declares, by their owners, ACLs and policies
//	store    where a bucket's objects are: the files of this node, or another S3
//	         server
//	gate     the backend that versitygw sees: it maps names, asks the authorizer,
//	         keeps quotas, and notes events, then hands the call to the files
//	intent   a note, on disk before a write begins, from which its event can be
//	         made if the process ends before it was delivered
//
// Names: a function says `uploads` and gets its own app's bucket, because its
// key says whose it is. The administrator's key sees every bucket, as
// APP.BUCKET. An app's name has no dot, so that the two never meet.
//
//	S3 client ──► listener ──► versitygw (signature, S3 protocol) ──► gate ──► files
//	sandbox   ──► door     ──►                                        └──► intent ──► event
//
// versitygw's file backend changes the process's working folder and takes
// bucket names as relative paths. The gate gives it absolute ones and the
// constructor leaves the working folder as it was. All of versitygw is behind
// this package.
package bucket
