// Package bucket calls functions when objects of a bucket are made or removed.
//
// The service hands over each change of a bucket that functions listen to, and
// again until Deliver succeeds. Deliver makes one durable asynchronous call per
// matching binding, whose id is the same for the same change. The event has S3's
// shape: one record, its key URL-encoded as S3 encodes it, its bucket named as
// the function's own S3 client knows it.
package bucket
