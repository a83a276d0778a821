package queue

import (
	"encoding/json"
	"strconv"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event"
)

// Event is what a function gets: the event of an SQS queue.
type Event struct {
	Records []Record `json:"Records"`
}

// Record is one message of an Event.
type Record struct {
	MessageID         string               `json:"messageId"`
	ReceiptHandle     string               `json:"receiptHandle"`
	Body              string               `json:"body"`
	Attributes        map[string]string    `json:"attributes"`
	MessageAttributes map[string]Attribute `json:"messageAttributes"`
	MD5OfBody         string               `json:"md5OfBody"`
	EventSource       string               `json:"eventSource"`
	EventSourceARN    string               `json:"eventSourceARN"`
	AWSRegion         string               `json:"awsRegion"`
}

// Attribute is one message attribute.
type Attribute struct {
	StringValue      string   `json:"stringValue"`
	StringListValues []string `json:"stringListValues"`
	BinaryListValues []string `json:"binaryListValues"`
	DataType         string   `json:"dataType"`
}

// ARN is a queue's ARN-like id.
func ARN(region string, app mayfly.AppName, queue string) string {
	return "arn:aws:sqs:" + region + ":000000000000:" + string(app) + "-" + queue
}

func record(le *event.Lease, m *stored, region, arn string) Record {
	body := text(m.Body)
	r := Record{
		MessageID: le.ID, ReceiptHandle: receipt(le), Body: body, MD5OfBody: sum(body),
		EventSource: "aws:sqs", EventSourceARN: arn, AWSRegion: region,
		MessageAttributes: map[string]Attribute{},
		Attributes: map[string]string{
			"ApproximateReceiveCount":          strconv.Itoa(le.Attempt),
			"SentTimestamp":                    strconv.FormatInt(le.Created.UnixMilli(), 10),
			"SenderId":                         m.Sender,
			"ApproximateFirstReceiveTimestamp": strconv.FormatInt(firstReceived(le), 10),
		},
	}
	if le.Key != "" {
		r.Attributes["MessageGroupId"] = le.Key
	}
	if le.Dedup != "" {
		r.Attributes["MessageDeduplicationId"] = le.Dedup
	}
	if x := m.Trace.XRay(); x != "" {
		r.Attributes["AWSTraceHeader"] = x
	}
	for name, value := range m.Attributes {
		r.MessageAttributes[name] = Attribute{StringValue: value, StringListValues: []string{}, BinaryListValues: []string{}, DataType: "String"}
	}
	return r
}

func firstReceived(le *event.Lease) int64 {
	if len(le.History) > 0 {
		return le.History[0].At.UnixMilli()
	}
	return le.Received().UnixMilli()
}

// failures reads a function's reply: the ids of the messages that failed. As
// AWS has it, an empty reply or list is success, and a reply that names a
// message which was not in the batch, or none, fails the whole batch.
func failures(payload []byte, ids map[string]bool) (failed map[string]bool, whole bool) {
	var reply struct {
		Failures []struct {
			ID *string `json:"itemIdentifier"`
		} `json:"batchItemFailures"`
	}
	if len(payload) == 0 || json.Unmarshal(payload, &reply) != nil {
		return nil, false // a reply of another shape is no report
	}
	failed = map[string]bool{}
	for _, f := range reply.Failures {
		if f.ID == nil || !ids[*f.ID] {
			return nil, true
		}
		failed[*f.ID] = true
	}
	return failed, false
}
