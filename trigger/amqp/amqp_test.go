package amqp

import (
	"bytes"
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/sample"
	"github.com/mayfly-cloud/mayfly/trigger"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		t  mayfly.Trigger
		ok bool
	}{
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://localhost:5672"}, true},
		{mayfly.Trigger{AMQP: "orders", URL: "amqps://a:5671/shop,amqps://b:5671/shop", Batch: 10, Prefetch: 500}, true},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a", Exchange: "shop", Keys: []string{"order.*"}}, true},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a", Exchange: "shop"}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a", Keys: []string{"order.*"}}, false},
		{mayfly.Trigger{AMQP: "amq.gen-1", URL: "amqp://a"}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a", Batch: 101}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a", Prefetch: 70_000}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a,amqps://b"}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://u:p@a"}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "amqp://a/shop?heartbeat=0"}, false},
		{mayfly.Trigger{AMQP: "orders", URL: "http://a"}, false},
	} {
		if err := New(Config{}).Check(nil, "f", &c.t); (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c.t, err)
		}
	}
}

// TestSample keeps the sample that the command prints of the driver's shape.
func TestSample(t *testing.T) {
	text, err := sample.Event(mayfly.TriggerAMQP, "", "")
	if err != nil {
		t.Fatal(err)
	}
	var e Event
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.DisallowUnknownFields()
	if err := dec.Decode(&e); err != nil || len(e.Messages) != 1 || *e.Messages["orders::/"][0].Properties.MessageID == "" {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestEncode is about what any sender may put into headers.
func TestEncode(t *testing.T) {
	c := &consumer{binding: &trigger.Binding{Trigger: mayfly.Trigger{AMQP: "orders"}}, server: "127.0.0.1:5672", vhost: "/"}
	text, err := c.encode([]amqp091.Delivery{{
		ContentType: "application/json", DeliveryMode: 2, Timestamp: time.Unix(1700000000, 0), Exchange: "shop", RoutingKey: "order.created", Body: []byte(`{"a":1}`),
		Headers: amqp091.Table{
			"text": "hé", "bytes": []byte{0, 255}, "number": int64(7), "true": true, "none": nil, "nan": math.NaN(), "inf": float32(math.Inf(1)), "half": 0.5,
			"at": time.Unix(0, 0), "price": amqp091.Decimal{Scale: 2, Value: 1250}, "list": []any{"a", amqp091.Table{"b": int32(1)}},
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"eventSource":"aws:rmq","eventSourceArn":"arn:aws:mq:local:000000000000:broker:127.0.0.1:5672","rmqMessagesByQueue":{"orders::/":[{"basicProperties":{"contentType":"application/json","contentEncoding":null,` +
		`"headers":{"at":"Jan 1, 1970, 12:00:00 AM","bytes":{"bytes":[0,-1]},"half":0.5,"inf":null,"list":[{"bytes":[97]},{"b":1}],"nan":null,"none":null,"number":7,"price":12.5,"text":{"bytes":[104,-61,-87]},"true":true},` +
		`"deliveryMode":2,"priority":0,"correlationId":null,"replyTo":null,"expiration":null,"messageId":null,"timestamp":"Nov 14, 2023, 10:13:20 PM","type":null,"userId":null,"appId":null,"clusterId":null,"bodySize":7},` +
		`"redelivered":false,"data":"eyJhIjoxfQ==","exchange":"shop","routingKey":"order.created"}]}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}
