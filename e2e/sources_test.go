package e2e

import (
	"fmt"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

const sourcesManifest = `
app: shop
kv: {seen: {}}
functions:
  taker:
    runtime: python
    source: ./src
    handler: app.handler
    allow: [write kv/seen]
    on:
      - nats: orders.>
        url: %s
      - mqtt: sensors/+/temperature
        url: %s
`

const sourcesCode = `
import os, urllib.request

def handler(event, context):
    url = os.environ["MAYFLY_ENDPOINT"] + "/v1/apps/shop/kv/seen/keys/n" + str(event["data"]["n"])
    urllib.request.urlopen(urllib.request.Request(url, event["type"].encode(), method="PUT")).read()
`

// TestSources takes messages from a server outside that speaks NATS and MQTT,
// also those that were published while the node was dead.
func TestSources(t *testing.T) {
	needs(t, "python3")
	options := &server.Options{
		ServerName: "outside", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true,
		MQTT: server.MQTTOpts{Host: "127.0.0.1", Port: -1, AckWait: time.Second},
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	nc, err := nats.Connect(s.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "ORDERS", Subjects: []string{"orders.>"}}); err != nil {
		t.Fatal(err)
	}
	broker := fmt.Sprintf("mqtt://127.0.0.1:%d", options.MQTT.Port)
	publisher := paho.NewClient(paho.NewClientOptions().AddBroker(broker).SetClientID("publisher"))
	if c := publisher.Connect(); !c.WaitTimeout(time.Minute) || c.Error() != nil {
		t.Fatal(c.Error())
	}
	t.Cleanup(func() { publisher.Disconnect(0) })
	publish := func(order, sensor int) {
		t.Helper()
		if _, err := js.Publish(t.Context(), "orders.eu", fmt.Appendf(nil, `{"n":%d}`, order)); err != nil {
			t.Fatal(err)
		}
		if p := publisher.Publish("sensors/roof/temperature", 1, false, fmt.Sprintf(`{"n":%d}`, sensor)); !p.WaitTimeout(time.Minute) || p.Error() != nil {
			t.Fatal(p.Error())
		}
	}

	data, dir := t.TempDir(), app(t, map[string]string{"mayfly.yaml": fmt.Sprintf(sourcesManifest, s.ClientURL(), broker), "src/app.py": sourcesCode})
	n := start(t, data, "dev", dir)
	connected := func() bool {
		out, exit := n.cli("event", "sources", "--app", "shop")
		return exit == 0 && strings.Count(out, " connected for ") == 2
	}
	eventually(t, "both sources are connected", connected)
	took := func(key int, kind string) {
		t.Helper()
		eventually(t, fmt.Sprintf("message %d was taken", key), func() bool {
			var raw []byte
			_ = n.client().Do(t.Context(), "GET", fmt.Sprintf("/v1/apps/shop/kv/seen/keys/n%d", key), nil, &raw)
			return strings.Contains(string(raw), kind)
		})
	}
	publish(1, 2)
	took(1, "nats.message")
	took(2, "mqtt.message")
	n.kill()
	publish(3, 4)
	n = start(t, data, "dev", dir)
	took(3, "nats.message")
	took(4, "mqtt.message")
}
