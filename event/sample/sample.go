package sample

import (
	"crypto/md5"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"time"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/event/cloudevent"
)

// Kinds are those that Event knows, in the order that documents list them.
var Kinds = []mayfly.TriggerKind{
	mayfly.TriggerDirect, mayfly.TriggerHTTP, mayfly.TriggerQueue, mayfly.TriggerTopic, mayfly.TriggerStream, mayfly.TriggerSchedule,
	mayfly.TriggerBucket, mayfly.TriggerTable, mayfly.TriggerKV, mayfly.TriggerWebhook,
	mayfly.TriggerNATS, mayfly.TriggerMQTT, mayfly.TriggerKafka, mayfly.TriggerAMQP, mayfly.TriggerPostgres,
}

// when is the time in all samples, so that they are the same each time.
var when = time.Date(2026, 5, 4, 8, 30, 0, 0, time.UTC)

const (
	id      = "0a6b1c1e-6c1f-4b43-9f0e-6a5d7f3a1b2c"
	account = "000000000000"
	region  = "local"
)

type object = map[string]any

// Event is a sample of a kind as indented JSON, with app and name (a route, a
// queue, a topic, …) where the kind has one. It returns an Invalid error for
// another kind.
func Event(kind mayfly.TriggerKind, app, name string) ([]byte, error) {
	if app == "" {
		app = "shop"
	}
	write, ok := map[mayfly.TriggerKind]func(app, name string) any{
		mayfly.TriggerDirect: direct, mayfly.TriggerHTTP: http, mayfly.TriggerQueue: queue, mayfly.TriggerTopic: topic,
		mayfly.TriggerStream: stream, mayfly.TriggerSchedule: schedule, mayfly.TriggerBucket: bucket, mayfly.TriggerTable: table,
		mayfly.TriggerKV: kv, mayfly.TriggerWebhook: webhook,
		mayfly.TriggerNATS: nats, mayfly.TriggerMQTT: mqtt, mayfly.TriggerKafka: kafka,
		mayfly.TriggerAMQP: amqp, mayfly.TriggerPostgres: postgres,
	}[kind]
	if !ok || !slices.Contains(Kinds, kind) {
		return nil, mayfly.Errorf(mayfly.Invalid, "sample event", "%q is not a kind of trigger; choose one of %v", kind, Kinds)
	}
	return json.MarshalIndent(write(app, name), "", "  ")
}

func or(s, def string) string {
	if s == "" {
		return def
	}
	return s
}

func direct(string, string) any { return object{"name": "Ada"} }

func request(app, method, path, body string, headers map[string]string) *mayfly.HTTPRequest {
	route := method + " " + path
	return &mayfly.HTTPRequest{
		Version: "2.0", RouteKey: route, RawPath: path, Headers: headers, Body: body,
		RequestContext: mayfly.RequestContext{
			AccountID: account, APIID: app, DomainName: app + ".localhost", DomainPrefix: app, RequestID: id, RouteKey: route, Stage: "$default",
			Time: when.Format("02/Jan/2006:15:04:05 -0700"), TimeEpoch: when.UnixMilli(),
			HTTP: mayfly.RequestHTTP{Method: method, Path: path, Protocol: "HTTP/1.1", SourceIP: "127.0.0.1", UserAgent: headers["user-agent"]},
		},
	}
}

func http(app, name string) any {
	r := request(app, "POST", or(name, "/orders/42"), `{"quantity":2}`, map[string]string{
		"accept": "*/*", "content-type": "application/json", "host": app + ".localhost:8080", "user-agent": "curl/8.5.0",
	})
	r.RawQueryString, r.QueryStringParameters = "dry_run=1", map[string]string{"dry_run": "1"}
	r.PathParameters = map[string]string{"id": "42"}
	return r
}

func webhook(app, name string) any {
	return request(app, "POST", or(name, "/hooks/github"), `{"action":"opened","issue":{"number":7,"title":"It works"}}`, map[string]string{
		"content-type": "application/json", "host": app + ".localhost:8080", "user-agent": "GitHub-Hookshot/044aadd",
		"x-github-delivery": id, "x-github-event": "issues", "x-hub-signature-256": "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17",
	})
}

func queue(app, name string) any {
	const body = `{"order":42}`
	sum := md5.Sum([]byte(body))
	return object{"Records": []any{object{
		"messageId": id, "receiptHandle": id + ".2qgkk8", "body": body, "md5OfBody": hex.EncodeToString(sum[:]),
		"attributes": object{
			"ApproximateReceiveCount": "1", "SentTimestamp": strconv.FormatInt(when.UnixMilli(), 10), "SenderId": "admin",
			"ApproximateFirstReceiveTimestamp": strconv.FormatInt(when.Add(3*time.Millisecond).UnixMilli(), 10),
		},
		"messageAttributes": object{},
		"eventSource":       "aws:sqs", "eventSourceARN": "arn:aws:sqs:" + region + ":" + account + ":" + app + "-" + or(name, "jobs"), "awsRegion": region,
	}}}
}

func cloud(app, name string) json.RawMessage {
	text, err := cloudevent.Encode(&mayfly.CloudEvent{
		ID: id, Source: "/apps/" + app, SpecVersion: "1.0", Type: or(name, "order.created"), Subject: "order/42", Time: when,
		DataContentType: "application/json", Data: json.RawMessage(`{"id":42,"total":129.5,"country":"CH"}`),
	})
	if err != nil {
		panic(err) // every field encodes
	}
	return text
}

func topic(app, name string) any { return cloud(app, name) }

func stream(app, name string) any {
	name = or(name, "order.created")
	const shard, sequence = "shardId-000000000003", "1700001"
	arn := "arn:aws:kinesis:" + region + ":" + account + ":stream/" + app + "-" + name
	return object{"Records": []any{object{
		"kinesis": object{
			"kinesisSchemaVersion": "1.0", "partitionKey": "order/42", "sequenceNumber": sequence, "data": []byte(cloud(app, name)),
			"approximateArrivalTimestamp": float64(when.UnixMilli()) / 1000,
		},
		"eventSource": "aws:kinesis", "eventVersion": "1.0", "eventID": shard + ":" + sequence, "eventName": "aws:kinesis:record",
		"invokeIdentityArn": "arn:aws:iam::" + account + ":role/mayfly", "awsRegion": region, "eventSourceARN": arn,
	}}}
}

func schedule(app, name string) any {
	return object{
		"version": "0", "id": id, "detail-type": "Scheduled Event", "source": "aws.events", "account": account, "time": when.Format(time.RFC3339),
		"region": region, "resources": []string{"arn:aws:events:" + region + ":" + account + ":rule/" + app + "-" + or(name, "nightly")}, "detail": object{},
	}
}

func bucket(app, name string) any {
	name = or(name, "uploads")
	return object{"Records": []any{object{
		"eventVersion": "2.1", "eventSource": "aws:s3", "awsRegion": region, "eventTime": when.Format("2006-01-02T15:04:05.000Z"), "eventName": "ObjectCreated:Put",
		"userIdentity": object{"principalId": app}, "requestParameters": object{"sourceIPAddress": "127.0.0.1"},
		"responseElements": object{"x-amz-request-id": "C3D13FE58DE4C810"},
		"s3": object{
			"s3SchemaVersion": "1.0", "configurationId": name,
			"bucket": object{"name": name, "ownerIdentity": object{"principalId": app}, "arn": "arn:aws:s3:::" + name},
			"object": object{"key": "raw/cat+1.jpg", "size": 20480, "eTag": "d41d8cd98f00b204e9800998ecf8427e", "sequencer": "0055AED6DCD90281E5"},
		},
	}}}
}

func table(app, name string) any {
	return object{"Records": []any{object{
		"eventID": "17", "eventSource": "mayfly:sql", "eventName": "update", "eventTime": when.Format(time.RFC3339), "app": app, "database": "main",
		"table": or(name, "orders"), "position": 17, "new": object{"id": 42, "status": "paid"}, "old": object{"id": 42, "status": "new"},
	}}}
}

func kv(app, name string) any {
	return object{"Records": []any{object{
		"eventID": "3-17", "eventSource": "mayfly:kv", "eventName": "put", "eventTime": when.Format(time.RFC3339), "app": app, "store": or(name, "sessions"),
		"key": "user/42", "revision": 17, "new": object{"contentType": "application/json", "revision": 17, "value": object{"cart": []int{1, 2}}},
	}}}
}

func nats(_, name string) any {
	return outside(mayfly.TriggerNATS, "nats://nats.example.com:4222", or(name, "orders.created"), `{"order":42,"total":120}`)
}

func mqtt(_, name string) any {
	return outside(mayfly.TriggerMQTT, "mqtts://broker.example.com:8883", or(name, "sensors/roof/temperature"), `{"celsius":21.5}`)
}

func outside(kind mayfly.TriggerKind, source, subject, data string) any {
	return &mayfly.CloudEvent{
		ID: id, Source: source, SpecVersion: cloudevent.SpecVersion, Type: string(kind) + ".message", Subject: subject, Time: when,
		DataContentType: "application/json", Data: json.RawMessage(data),
	}
}

func kafka(_, name string) any {
	name = or(name, "orders")
	return object{"eventSource": "SelfManagedKafka", "bootstrapServers": "kafka.example.com:9092", "records": object{name + "-0": []any{object{
		"topic": name, "partition": 0, "offset": 15, "timestamp": when.UnixMilli(), "timestampType": "CREATE_TIME",
		"key": []byte("42"), "value": []byte(`{"order":42,"total":120}`), "headers": []any{},
	}}}}
}

func amqp(_, name string) any {
	text := func(s string) object { // as Lambda has texts in headers: bytes as numbers
		bytes := make([]int8, len(s))
		for i := range len(s) {
			bytes[i] = int8(s[i])
		}
		return object{"bytes": bytes}
	}
	const body = `{"order":42,"total":120}`
	return object{"eventSource": "aws:rmq", "eventSourceArn": "arn:aws:mq:" + region + ":" + account + ":broker:192.0.2.7:5671", "rmqMessagesByQueue": object{or(name, "orders") + "::/": []any{object{
		"basicProperties": object{
			"contentType": "application/json", "contentEncoding": nil, "headers": object{"tenant": text("eu")}, "deliveryMode": 2, "priority": 0, "correlationId": nil,
			"replyTo": nil, "expiration": nil, "messageId": id, "timestamp": when.Format("Jan 2, 2006, 3:04:05 PM"), "type": nil, "userId": nil, "appId": nil, "clusterId": nil,
			"bodySize": len(body),
		},
		"redelivered": false, "data": []byte(body), "exchange": "shop", "routingKey": "order.created",
	}}}}
}

func postgres(_, name string) any {
	return outside(mayfly.TriggerPostgres, "postgres://db.example.com:5432/shop", or(name, "orders"), `{"order":42,"status":"paid"}`)
}
