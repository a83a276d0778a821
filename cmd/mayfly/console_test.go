package main

import (
	"strings"
	"testing"
)

func TestConsoleLinkSignsIn(t *testing.T) {
	out, said, code := typed(t, "console", "--api-url", "http://127.0.0.1:8081/", "--token", "mayfly_a+b")
	if code != 0 || out != "http://127.0.0.1:8081/#token=mayfly_a%2Bb\n" {
		t.Errorf("exit %d: %s%s", code, out, said)
	}
	if _, said, code := typed(t, "console", "--api-url", "http://127.0.0.1:8081"); code == 0 || !strings.Contains(said, "MAYFLY_TOKEN") {
		t.Errorf("without a token: exit %d: %s", code, said)
	}
}
