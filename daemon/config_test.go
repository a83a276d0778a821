package daemon

import (
	"net"
	"strings"
	"testing"

	"github.com/mayfly-cloud/mayfly"
)

func TestConfigSaysAllThatIsWrong(t *testing.T) {
	err := Config{Gateway: "nonsense", API: "127.0.0.1:99999", Durability: "never", Walls: "paper", Telemetry: "maybe", Sample: 1}.WithDefaults().Validate()
	if mayfly.CodeOf(err) != mayfly.Invalid {
		t.Fatalf("err = %v", err)
	}
	for _, flag := range []string{"--data", "--gateway", "--api", "--durability", "--walls", "--telemetry", "--sample"} {
		if !strings.Contains(err.Error(), flag) {
			t.Errorf("%s is not named in:\n%v", flag, err)
		}
	}
	if err := (Config{Data: t.TempDir()}).WithDefaults().Validate(); err != nil {
		t.Errorf("the defaults are wrong: %v", err)
	}
}

func TestPortInUseNamesTheFlag(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, err = Config{Gateway: "127.0.0.1:0", API: l.Addr().String(), S3: "127.0.0.1:0"}.listen()
	if mayfly.CodeOf(err) != mayfly.Conflict || !strings.Contains(err.Error(), "--api") {
		t.Errorf("err = %v", err)
	}
}
