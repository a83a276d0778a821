// The hot path of the shortener: look a code up, count the click, redirect.
package main

import (
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
)

var stores = os.Getenv("MAYFLY_ENDPOINT") + "/v1/apps/" + os.Getenv("MAYFLY_APP") + "/kv/"

func handle(e event) (response, error) {
	code := e.PathParameters["code"]
	target, err := lookUp(code)
	if err != nil {
		return response{}, err
	}
	if target == "" {
		return text(http.StatusNotFound, "there is no link "+code+"\n"), nil
	}
	if err := count(code); err != nil {
		log.Printf("the click on %s is not counted: %v", code, err)
	}
	r := text(http.StatusFound, "")
	r.Headers["location"] = target
	r.Headers["cache-control"] = "no-store" // so that each click is counted
	return r, nil
}

// lookUp is the address that a code stands for, "" where it stands for none.
func lookUp(code string) (string, error) {
	res, err := http.Get(stores + "links/keys/" + url.PathEscape(code))
	if err != nil {
		return "", err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	switch {
	case err != nil:
		return "", err
	case res.StatusCode == http.StatusNotFound:
		return "", nil
	case res.StatusCode != http.StatusOK:
		return "", fmt.Errorf("look up %s: %s: %s", code, res.Status, data)
	}
	var link struct{ URL string }
	err = json.Unmarshal(data, &link)
	return link.URL, err
}

func count(code string) error {
	res, err := http.Post(stores+"clicks/increment/"+url.PathEscape(code), "", nil)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	if err == nil && res.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", res.Status, data)
	}
	return err
}

func text(status int, body string) response {
	return response{StatusCode: status, Headers: map[string]string{"content-type": "text/plain"}, Body: body}
}
