package amqp

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/rabbitmq/amqp091-go"
	"go.uber.org/goleak"
)

// authority is a file with the certificate that the broker's TLS listener has,
// which this process trusts, and private one with its key. There is one for all
// brokers: a process reads the roots that it trusts once.
var authority, private string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "amqp")
	if err != nil {
		panic(err)
	}
	authority, private = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := certify(); err != nil {
		panic(err)
	}
	_ = os.Setenv("SSL_CERT_FILE", authority)
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		_ = os.RemoveAll(dir)
		os.Exit(code)
	}))
}

const started = 3 * time.Minute // a broker takes 5 s on a quiet machine

// broker is a RabbitMQ server of the test's own, with its own name daemon, in a
// temporary folder and on the loopback.
type broker struct {
	plain, tls string // addresses
}

func (b *broker) url() string { return "amqp://" + b.plain + "/shop" }

// startBroker starts a server, whose end is the test's.
func startBroker(t *testing.T) *broker {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a RabbitMQ server")
	}
	const script = "/usr/lib/rabbitmq/bin/rabbitmq-server" // the one on PATH changes the user
	if _, err := os.Stat(script); err != nil {
		t.Skip("RabbitMQ is not installed (Debian: rabbitmq-server)")
	}
	epmd, err := exec.LookPath("epmd")
	if err != nil {
		t.Skip("Erlang's epmd is not installed (Debian: erlang-base)")
	}
	// The servers take no ports of their own choice: another program may take
	// one before they do.
	for attempt := range 3 {
		if b := tryBroker(t, script, epmd); b != nil {
			return b
		}
		t.Logf("attempt %d: RabbitMQ does not start", attempt+1)
	}
	t.Skip("RabbitMQ does not start here")
	return nil
}

// tryBroker returns nil where the server ended before it answered.
func tryBroker(t *testing.T, script, epmd string) *broker {
	t.Helper()
	dir := t.TempDir()
	ports := freePorts(t, 4)
	b := &broker{plain: "127.0.0.1:" + ports[0], tls: "localhost:" + ports[1]}
	config := fmt.Sprintf(`listeners.tcp.1 = 127.0.0.1:%s
listeners.ssl.1 = 127.0.0.1:%s
ssl_options.certfile = %s
ssl_options.keyfile = %s
ssl_options.verify = verify_none
default_user = ada
default_pass = pass
default_vhost = shop
log.console = true
log.console.level = warning
log.file = false
`, ports[0], ports[1], authority, private)
	for name, text := range map[string]string{"rabbitmq.conf": config, "enabled_plugins": "[]."} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	env := append(os.Environ(), "HOME="+dir, "ERL_EPMD_PORT="+ports[2], "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_NODENAME=mayfly"+ports[0]+"@localhost", "RABBITMQ_DIST_PORT="+ports[3],
		"RABBITMQ_MNESIA_BASE="+dir+"/mnesia", "RABBITMQ_LOG_BASE="+dir+"/log", "RABBITMQ_PLUGINS_EXPAND_DIR="+dir+"/plugins",
		"RABBITMQ_ENABLED_PLUGINS_FILE="+dir+"/enabled_plugins", "RABBITMQ_CONFIG_FILE="+dir+"/rabbitmq.conf", "RABBITMQ_CONF_ENV_FILE=/dev/null",
		"RABBITMQ_PID_FILE="+dir+"/pid", "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-start_epmd false -kernel inet_dist_use_interface {127,0,0,1} +S 2:2 +sbwt none")
	stopNames, _ := spawn(t, env, syscall.SIGKILL, epmd, "-port", ports[2], "-address", "127.0.0.1")
	stop, ended := spawn(t, env, syscall.SIGTERM, script)
	both := sync.OnceFunc(func() { stop(); stopNames() })
	for deadline := time.Now().Add(started); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if conn, err := amqp091.Dial("amqp://ada:pass@" + b.plain + "/shop"); err == nil {
			_ = conn.Close()
			t.Cleanup(both)
			return b
		}
		select {
		case <-ended:
			both()
			return nil
		default:
		}
	}
	both()
	t.Skip("RabbitMQ does not answer in", started)
	return nil
}

// spawn starts a program in a process group of its own. stop ends it by a
// signal, and the group by force where that takes too long.
func spawn(t *testing.T, env []string, by syscall.Signal, name string, args ...string) (stop func(), ended <-chan struct{}) {
	t.Helper()
	out, err := os.Create(filepath.Join(t.TempDir(), "out"))
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Stdout, cmd.Stderr = env, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: by} // also where the test is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = cmd.Wait()
		_ = out.Close()
	}()
	return func() {
		_ = cmd.Process.Signal(by)
		select {
		case <-done:
		case <-time.After(30 * time.Second):
		}
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // what is left of the group
		<-done
		if t.Failed() {
			text, _ := os.ReadFile(out.Name())
			t.Logf("%s said: %.2000s", filepath.Base(name), text)
		}
	}, done
}

func freePorts(t *testing.T, n int) []string {
	t.Helper()
	var ports []string
	for range n {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		_, port, _ := net.SplitHostPort(l.Addr().String())
		ports = append(ports, port)
	}
	return ports
}

// certify writes a certificate of localhost that signs itself, and its key.
func certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "localhost"}, DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour), IsCA: true, BasicConstraintsValid: true,
		KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return err
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return errors.Join(
		os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644),
		os.WriteFile(private, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
}

// wire is a proxy to the broker that can cut its connections.
type wire struct {
	listener net.Listener
	to       string
	work     sync.WaitGroup

	mu    sync.Mutex
	conns []net.Conn // guarded by mu
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{listener: l, to: to}
	w.work.Go(w.serve)
	t.Cleanup(func() {
		_ = l.Close()
		w.cut()
		w.work.Wait()
	})
	return w
}

func (w *wire) url() string { return "amqp://" + w.listener.Addr().String() + "/shop" }

func (w *wire) serve() {
	for {
		near, err := w.listener.Accept()
		if err != nil {
			return
		}
		far, err := net.Dial("tcp", w.to)
		if err != nil {
			_ = near.Close()
			continue
		}
		w.mu.Lock()
		w.conns = append(w.conns, near, far)
		w.mu.Unlock()
		for _, pair := range [][2]net.Conn{{near, far}, {far, near}} {
			w.work.Go(func() {
				_, _ = io.Copy(pair[0], pair[1])
				_ = pair[0].Close()
			})
		}
	}
}

func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// client is a connection of the test's own.
type client struct {
	t  *testing.T
	ch *amqp091.Channel
}

func newClient(t *testing.T, b *broker) *client {
	t.Helper()
	conn, err := amqp091.Dial(strings.Replace(b.url(), "://", "://ada:pass@", 1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	return &client{t, ch}
}

func (c *client) exchange(name string) {
	c.t.Helper()
	if err := c.ch.ExchangeDeclare(name, "topic", true, false, false, false, nil); err != nil {
		c.t.Fatal(err)
	}
}

func (c *client) queue(name string, args amqp091.Table) {
	c.t.Helper()
	if _, err := c.ch.QueueDeclare(name, true, false, false, false, args); err != nil {
		c.t.Fatal(err)
	}
}

// ready is how many messages of a queue are with nobody.
func (c *client) ready(name string) int {
	c.t.Helper()
	q, err := c.ch.QueueDeclarePassive(name, true, false, false, false, nil)
	if err != nil {
		c.t.Fatal(err)
	}
	return q.Messages
}

// publish returns when the broker has the message.
func (c *client) publish(exchange, key string, m amqp091.Publishing) {
	c.t.Helper()
	sent, err := c.ch.PublishWithDeferredConfirmWithContext(c.t.Context(), exchange, key, false, false, m)
	if err != nil {
		c.t.Fatal(err)
	}
	if ok, err := sent.WaitContext(c.t.Context()); err != nil || !ok {
		c.t.Fatal("the broker does not take a message:", err)
	}
}
