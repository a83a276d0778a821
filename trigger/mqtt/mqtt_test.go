package mqtt

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	paho "github.com/eclipse/paho.mqtt.golang"
	"github.com/nats-io/nats-server/v2/server"

	"github.com/mayfly-cloud/mayfly"
	"github.com/mayfly-cloud/mayfly/trigger"
	"github.com/mayfly-cloud/mayfly/trigger/triggertest"
)

func TestCheck(t *testing.T) {
	for _, c := range []struct {
		topic, url string
		ok         bool
	}{
		{"sensors/+/temperature", "mqtt://localhost:1883", true},
		{"sensors/#", "mqtts://localhost:8883", true},
		{"sensors/#/x", "mqtt://localhost", false},
		{"sensors/a+", "mqtt://localhost", false},
		{"sensors", "mqtt://a,mqtt://b", false},
		{"sensors", "mqtt://user:secret@a", false},
		{"sensors", "nats://a", false},
	} {
		err := New(Config{}).Check(nil, "f", &mayfly.Trigger{MQTT: c.topic, URL: c.url})
		if (err == nil) != c.ok || err != nil && mayfly.CodeOf(err) != mayfly.Invalid {
			t.Errorf("%+v: %v", c, err)
		}
	}
}

type secrets struct{}

func (secrets) Secret(context.Context, mayfly.AppName, string) (string, error) {
	return "ada:pass", nil
}

// TestNATS is against the MQTT listener of NATS, with a password.
func TestNATS(t *testing.T) {
	options := &server.Options{
		ServerName: "mqtt", Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoSigs: true, NoLog: true, Username: "ada", Password: "pass",
		MQTT: server.MQTTOpts{Host: "127.0.0.1", Port: -1, AckWait: time.Second},
	}
	s, err := server.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	s.Start()
	defer func() { s.Shutdown(); s.WaitForShutdown() }()
	if !s.ReadyForConnections(time.Minute) {
		t.Fatal("the server is not ready")
	}
	contract(t, fmt.Sprintf("mqtt://127.0.0.1:%d", options.MQTT.Port))
}

func TestMosquitto(t *testing.T) {
	path, err := exec.LookPath("mosquitto")
	if err != nil {
		if _, statErr := os.Stat("/usr/sbin/mosquitto"); statErr != nil {
			t.Skip("mosquitto is not installed (Debian: mosquitto)")
		}
		path = "/usr/sbin/mosquitto"
	}
	// The broker takes no port of its own choice.
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_, port, _ := net.SplitHostPort(address)
	_ = l.Close()
	config := filepath.Join(t.TempDir(), "mosquitto.conf")
	if err := os.WriteFile(config, []byte("listener "+port+" 127.0.0.1\nallow_anonymous true\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(path, "-c", config)
	if err := cmd.Start(); err != nil {
		t.Skip("mosquitto does not start:", err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	defer func() { _ = cmd.Process.Kill(); <-ended }()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			_ = conn.Close()
			break
		}
		select {
		case err := <-ended:
			ended <- err
			t.Skip("mosquitto ends at once; another may have its port:", err)
		default:
		}
		if time.Now().After(deadline) {
			t.Fatal("mosquitto does not listen")
		}
	}
	contract(t, "mqtt://"+address)
}

// contract is that messages come, that those come which are published while
// nobody consumes, and that those come again which cannot be accepted.
func contract(t *testing.T, url string) {
	publisher := paho.NewClient(paho.NewClientOptions().AddBroker(url).SetClientID("publisher").SetUsername("ada").SetPassword("pass"))
	if err := wait(t.Context(), publisher.Connect()); err != nil {
		t.Fatal(err)
	}
	defer publisher.Disconnect(0)
	publish := func(text string) {
		t.Helper()
		if err := wait(t.Context(), publisher.Publish("sensors/roof/temperature", 1, false, text)); err != nil {
			t.Fatal(err)
		}
	}
	var calls triggertest.Calls
	seen := func(text string) func() bool {
		return func() bool {
			events, _ := calls.All()
			return strings.Contains(fmt.Sprintf("%s", events), text)
		}
	}
	stop := run(t, &calls, url)
	defer func() { stop() }()
	triggertest.Until(t, "a subscription that gets a message", func() bool {
		publish(`{"c":21}`)
		return seen(`"data":{"c":21}`)()
	})
	calls.Fail(1)
	publish("warm")
	triggertest.Until(t, "a refusal", calls.Failed)
	triggertest.Until(t, "a message that was refused", seen(`"data":"warm"`))
	stop()
	publish("alone")
	stop = run(t, &calls, url)
	triggertest.Until(t, "a message from before the connection", seen(`"data":"alone"`))
	if events, _ := calls.All(); !strings.Contains(string(events[0]), `"subject":"sensors/roof/temperature"`) {
		t.Errorf("%s", events[0])
	}
}

func run(t *testing.T, calls *triggertest.Calls, url string) (stop func()) {
	t.Helper()
	d := New(Config{Enqueue: calls.Enqueue, Secrets: secrets{}})
	b := trigger.Binding{App: "a", Function: "f", Trigger: mayfly.Trigger{MQTT: "sensors/+/temperature", URL: url, Secret: "MQTT"}}
	if err := d.Apply(t.Context(), []trigger.Binding{b}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- d.Run(ctx) }()
	return func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
		done <- nil
	}
}
