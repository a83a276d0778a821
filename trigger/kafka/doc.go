// Package kafka calls functions with the records of a Kafka topic, in the event
// shape of a self-managed cluster on AWS Lambda.
//
// A consumer group shares the partitions. An offset is committed when the calls
// of all records before it are durable: at least once. The calls themselves run
// side by side, as all asynchronous calls do: a function that needs the order of
// a partition sends what it gets to a queue with order_by.
package kafka
