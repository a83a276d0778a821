package amqp

import (
	"encoding/json"
	"math"
	"time"

	"github.com/rabbitmq/amqp091-go"
)

// Event is what a handler gets. Its shape is that of AWS Lambda's, with the
// exchange and the routing key of each message besides:
// https://docs.aws.amazon.com/lambda/latest/dg/with-mq.html
type Event struct {
	EventSource    string               `json:"eventSource"` // "aws:rmq"
	EventSourceARN string               `json:"eventSourceArn"`
	Messages       map[string][]Message `json:"rmqMessagesByQueue"` // by QUEUE::VHOST
}

// Message is one message of a queue.
type Message struct {
	Properties  Properties `json:"basicProperties"`
	Redelivered bool       `json:"redelivered"`
	Data        []byte     `json:"data"` // base64, as JSON has bytes
	Exchange    string     `json:"exchange"`
	RoutingKey  string     `json:"routingKey"`
}

// Properties are the basic class's; null where the sender gave none.
type Properties struct {
	ContentType     *string        `json:"contentType"`
	ContentEncoding *string        `json:"contentEncoding"`
	Headers         map[string]any `json:"headers"`
	DeliveryMode    uint8          `json:"deliveryMode"`
	Priority        uint8          `json:"priority"`
	CorrelationID   *string        `json:"correlationId"`
	ReplyTo         *string        `json:"replyTo"`
	Expiration      *string        `json:"expiration"`
	MessageID       *string        `json:"messageId"`
	Timestamp       *string        `json:"timestamp"`
	Type            *string        `json:"type"`
	UserID          *string        `json:"userId"`
	AppID           *string        `json:"appId"`
	ClusterID       *string        `json:"clusterId"`
	BodySize        int            `json:"bodySize"`
}

// stamp is how Lambda writes a message's time, in UTC.
const stamp = "Jan 2, 2006, 3:04:05 PM"

func (c *consumer) encode(batch []amqp091.Delivery) ([]byte, error) {
	out := make([]Message, len(batch))
	for i := range batch {
		d := &batch[i]
		out[i] = Message{
			Properties: properties(d), Redelivered: d.Redelivered, Data: d.Body, Exchange: d.Exchange, RoutingKey: d.RoutingKey,
		}
	}
	return json.Marshal(&Event{
		EventSource: "aws:rmq", EventSourceARN: "arn:aws:mq:local:000000000000:broker:" + c.server,
		Messages: map[string][]Message{c.binding.Trigger.AMQP + "::" + c.vhost: out},
	})
}

func properties(d *amqp091.Delivery) Properties {
	p := Properties{
		ContentType: some(d.ContentType), ContentEncoding: some(d.ContentEncoding), Headers: headers(d.Headers), DeliveryMode: d.DeliveryMode,
		Priority: d.Priority, CorrelationID: some(d.CorrelationId), ReplyTo: some(d.ReplyTo), Expiration: some(d.Expiration),
		MessageID: some(d.MessageId), Type: some(d.Type), UserID: some(d.UserId), AppID: some(d.AppId), BodySize: len(d.Body),
	}
	if !d.Timestamp.IsZero() {
		p.Timestamp = some(d.Timestamp.UTC().Format(stamp))
	}
	return p
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

func headers(t amqp091.Table) map[string]any {
	out := make(map[string]any, len(t))
	for name, v := range t {
		out[name] = header(v)
	}
	return out
}

// header is a header's value as JSON can have it; texts and bytes are
// {"bytes": [...]}, as in Lambda.
func header(v any) any {
	switch v := v.(type) {
	case string:
		return numbers(v)
	case []byte:
		return numbers(string(v))
	case amqp091.Table:
		return headers(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = header(v[i])
		}
		return out
	case time.Time:
		return v.UTC().Format(stamp)
	case amqp091.Decimal:
		return float64(v.Value) / math.Pow10(int(v.Scale))
	case float32:
		return finite(float64(v))
	case float64:
		return finite(v)
	}
	return v // whole numbers, truth values, nothing
}

// finite is null for what JSON has no number for.
func finite(f float64) any {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return nil
	}
	return f
}

func numbers(s string) map[string][]int8 {
	bytes := make([]int8, len(s))
	for i := range len(s) {
		bytes[i] = int8(s[i])
	}
	return map[string][]int8{"bytes": bytes}
}
