// Package engine is the platform's durable core: NATS JetStream, embedded in
// the process or external by URL. The client code is the same for both.
//
// Terms:
//
//	log     one stream of a fixed set, written by one process at a time as a
//	        sequence of records; what a record means is its writer's affair
//	bucket  a key-value store with revisions; every write is a compare-and-set
//	index   the bucket "config" mirrored in memory by one watcher per node
//	change  one write as a watcher sees it
//
// The set of logs and buckets does not grow with apps or functions. All of
// them have a size limit. A log is made when it is first opened, so that an
// empty data folder starts in a few milliseconds.
//
// Durability: with "always" a write is on the disk (fsync) before it is
// acknowledged; with "fast" the disk is synced every 100 ms, so that a crash of
// the machine, but not of the process, may lose the last 100 ms.
//
// A data folder is used by one process at a time and belongs to one layout
// version; both are checked before anything is read. The embedded server is
// always a single node: JetStream deletes a single node's streams when the same
// folder is started as a member of a cluster, so there is no setting for that.
package engine
