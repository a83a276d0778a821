package bucket

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/service"
	"github.com/mayfly-cloud/mayfly/trigger"
)

// Driver matches changes with bindings. It is safe for concurrent use.
type Driver struct{ *trigger.Changes }

var _ trigger.Driver = (*Driver)(nil)

// New makes a Driver without bindings.
func New(enqueue trigger.Enqueue) *Driver {
	return &Driver{trigger.NewChanges(enqueue, func(t *mayfly.Trigger) string { return t.Bucket })}
}

// Kind is the trigger's kind.
func (d *Driver) Kind() mayfly.TriggerKind { return mayfly.TriggerBucket }

// Check wants a declared bucket and known events.
func (d *Driver) Check(m *mayfly.Manifest, fn mayfly.FunctionName, t *mayfly.Trigger) error {
	op := fmt.Sprintf("functions.%s.on: bucket %s", fn, t.Bucket)
	if _, ok := m.Buckets[t.Bucket]; !ok {
		return mayfly.Errorf(mayfly.Invalid, op, "the app declares no bucket %q; add it under buckets:", t.Bucket)
	}
	for _, e := range t.Events {
		if prefixes[e] == "" {
			return mayfly.Errorf(mayfly.Invalid, op, "%q is not an event of a bucket; use created or removed", e)
		}
	}
	return nil
}

// prefixes are S3's names of the manifest's events.
var prefixes = map[string]string{"created": "ObjectCreated:", "removed": "ObjectRemoved:"}

// Deliver enqueues a call for each binding that wants the change. An error means
// that the same change must be delivered again.
func (d *Driver) Deliver(ctx context.Context, c service.ObjectChange) error {
	return d.Tell(ctx, c.App, c.Bucket, c.ID, func(t *mayfly.Trigger) bool { return wants(t, &c) }, func() []byte { return encode(&c) })
}

// wants matches a change with a trigger; without events it is for both.
func wants(t *mayfly.Trigger, c *service.ObjectChange) bool {
	if !strings.HasPrefix(c.Key, t.Prefix) || !strings.HasSuffix(c.Key, t.Suffix) {
		return false
	}
	for _, e := range t.Events {
		if strings.HasPrefix(c.Event, prefixes[e]) {
			return true
		}
	}
	return len(t.Events) == 0
}

// The shape of S3's notification, version 2.1:
// https://docs.aws.amazon.com/AmazonS3/latest/userguide/notification-content-structure.html
type (
	event struct {
		Records []record `json:"Records"`
	}
	record struct {
		EventVersion      string            `json:"eventVersion"`
		EventSource       string            `json:"eventSource"`
		AWSRegion         string            `json:"awsRegion"`
		EventTime         string            `json:"eventTime"`
		EventName         string            `json:"eventName"`
		UserIdentity      identity          `json:"userIdentity"`
		RequestParameters map[string]string `json:"requestParameters"`
		ResponseElements  map[string]string `json:"responseElements"`
		S3                data              `json:"s3"`
	}
	identity struct {
		PrincipalID string `json:"principalId"`
	}
	data struct {
		SchemaVersion   string `json:"s3SchemaVersion"`
		ConfigurationID string `json:"configurationId"`
		Bucket          bucket `json:"bucket"`
		Object          object `json:"object"`
	}
	bucket struct {
		Name          string   `json:"name"`
		OwnerIdentity identity `json:"ownerIdentity"`
		ARN           string   `json:"arn"`
	}
	object struct {
		Key       string `json:"key"`
		Size      int64  `json:"size"`
		ETag      string `json:"eTag,omitempty"`
		VersionID string `json:"versionId,omitempty"`
		Sequencer string `json:"sequencer"`
	}
)

func encode(c *service.ObjectChange) []byte {
	out, err := json.Marshal(event{Records: []record{{
		EventVersion: "2.1", EventSource: "aws:s3", AWSRegion: "us-east-1",
		EventTime: c.Time.UTC().Format("2006-01-02T15:04:05.000Z"), EventName: c.Event,
		UserIdentity:      identity{c.Who.String()},
		RequestParameters: map[string]string{"sourceIPAddress": "127.0.0.1"},
		ResponseElements:  map[string]string{"x-amz-request-id": c.ID, "x-amz-id-2": c.ID},
		S3: data{
			SchemaVersion: "1.0", ConfigurationID: "mayfly",
			Bucket: bucket{Name: c.Bucket, OwnerIdentity: identity{string(c.App)}, ARN: "arn:aws:s3:::" + c.Bucket},
			Object: object{Key: encodeKey(c.Key), Size: c.Size, ETag: c.ETag, VersionID: c.Version, Sequencer: sequencer(c.Time)},
		},
	}}})
	if err != nil {
		panic(err) // every field marshals
	}
	return out
}

// encodeKey is form encoding without the slashes, as S3 has it: handlers undo it
// with unquote_plus and its like.
func encodeKey(key string) string {
	return strings.ReplaceAll(url.QueryEscape(key), "%2F", "/")
}

// sequencer orders the events of one key, as text.
func sequencer(t time.Time) string { return fmt.Sprintf("%016X", t.UnixNano()) }
