package stream

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Event is what a function gets: the event of a Kinesis stream.
type Event struct {
	Records []Record `json:"Records"`

	// Of a tumbling window; absent without one.
	Window            *Window         `json:"window,omitempty"`
	State             json.RawMessage `json:"state,omitempty"`
	ShardID           string          `json:"shardId,omitempty"`
	EventSourceARN    string          `json:"eventSourceARN,omitempty"`
	Final             *bool           `json:"isFinalInvokeForWindow,omitempty"`
	TerminatedEarlier *bool           `json:"isWindowTerminatedEarly,omitempty"`
}

// Window is a tumbling window.
type Window struct {
	Start time.Time `json:"start"`
	End   time.Time `json:"end"`
}

// Record is one event of the stream.
type Record struct {
	Kinesis           Kinesis `json:"kinesis"`
	EventSource       string  `json:"eventSource"`
	EventVersion      string  `json:"eventVersion"`
	EventID           string  `json:"eventID"`
	EventName         string  `json:"eventName"`
	InvokeIdentityARN string  `json:"invokeIdentityArn"`
	AWSRegion         string  `json:"awsRegion"`
	EventSourceARN    string  `json:"eventSourceARN"`
}

// Kinesis is the record as Kinesis has it. Data is base64 in JSON.
type Kinesis struct {
	SchemaVersion  string  `json:"kinesisSchemaVersion"`
	PartitionKey   string  `json:"partitionKey"`
	SequenceNumber string  `json:"sequenceNumber"`
	Data           []byte  `json:"data"`
	Arrived        float64 `json:"approximateArrivalTimestamp"`
}

// ARN is a stream's ARN-like id.
func ARN(region string, app mayfly.AppName, topic string) string {
	return "arn:aws:kinesis:" + region + ":000000000000:stream/" + string(app) + "-" + topic
}

// sequence is a position as a number in a text, that sorts as positions do.
func sequence(p event.Position) string { return fmt.Sprintf("%d%05d", p.Seq, p.Index) }

func shardID(partition int) string { return fmt.Sprintf("shardId-%012d", partition) }

func record(e *event.Published, key, region string, partition int) Record {
	arn := ARN(region, e.App, e.Topic)
	return Record{
		Kinesis: Kinesis{
			SchemaVersion: "1.0", PartitionKey: key, SequenceNumber: sequence(e.At), Data: e.Body,
			Arrived: float64(e.Time.UnixMilli()) / 1000,
		},
		EventSource: "aws:kinesis", EventVersion: "1.0", EventID: shardID(partition) + ":" + sequence(e.At), EventName: "aws:kinesis:record",
		InvokeIdentityARN: "arn:aws:iam::000000000000:role/mayfly", AWSRegion: region, EventSourceARN: arn,
	}
}

// reply is what a function answers.
type reply struct {
	State    json.RawMessage `json:"state"`
	Failures []struct {
		ID *string `json:"itemIdentifier"`
	} `json:"batchItemFailures"`
}

// readReply reads a function's answer: its state, and how many of the batch's
// first events are done. As AWS has it, the lowest sequence number that is
// named failed, with all after it; a name that is not in the batch fails it.
func readReply(payload []byte, batch []keyed) (state json.RawMessage, done int) {
	var r reply
	if json.Unmarshal(payload, &r) != nil {
		return nil, len(batch)
	}
	done = len(batch)
	for _, f := range r.Failures {
		i := -1
		if f.ID != nil {
			i = indexOf(batch, *f.ID)
		}
		if i < 0 {
			return r.State, 0
		}
		done = min(done, i)
	}
	return r.State, done
}

func indexOf(batch []keyed, id string) int {
	for i, k := range batch {
		if id != "" && (sequence(k.event.At) == id || strings.HasSuffix(id, ":"+sequence(k.event.At))) {
			return i
		}
	}
	return -1
}
