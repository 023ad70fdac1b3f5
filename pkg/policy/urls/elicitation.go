package urls

import (
	"bytes"
	"encoding/json/jsontext"
	"encoding/json/v2"
	"strings"
)

// elicited reads which URL an elicitation shows, if it shows one, or says why that cannot be told. A URL counts
// whatever the mode says: a client may look at the one and not at the other.
func elicited(params jsontext.Value) (url string, there bool, why string) {
	if len(params) == 0 {
		return "", false, ""
	}
	d := jsontext.NewDecoder(bytes.NewReader(params))
	if start, err := d.ReadToken(); err != nil || start.Kind() != '{' {
		return "", false, "its parameters are not an object"
	}
	wanted := false
	for d.PeekKind() == '"' {
		name, value, err := member(d)
		switch {
		case err != nil:
			return "", false, "its parameters cannot be read"
		case name == "mode":
			wanted = text(value) == "url"
		case name == "url":
			if value.Kind() != '"' {
				return "", false, "its url is not text"
			}
			url, there = text(value), true
		case strings.EqualFold(separators.Replace(name), "url"):
			return "", false, "it has a member that some readers take for url"
		}
	}
	if _, err := d.ReadToken(); err != nil {
		return "", false, "its parameters cannot be read"
	}
	if wanted && !there {
		return "", false, "its mode is url, and it has none"
	}
	return url, there, ""
}

// separators are what decoders that fold names skip beside case (encoding/json/v2, case:ignore).
var separators = strings.NewReplacer("_", "", "-", "")

// text decodes a string; of anything else it is empty.
func text(v jsontext.Value) string {
	var s string
	if json.Unmarshal(v, &s) != nil {
		return ""
	}
	return s
}

func member(d *jsontext.Decoder) (name string, value jsontext.Value, err error) {
	token, err := d.ReadToken()
	if err != nil {
		return "", nil, err
	}
	name = token.String()
	value, err = d.ReadValue()
	return name, value, err
}
