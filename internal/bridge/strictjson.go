package bridge

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
)

// StrictObject decodes a text that is one JSON object. Numbers become json.Number. It is an error if a name occurs twice in one
// object, at any depth, or if text follows the object. Names are case-sensitive. encoding/json is lax in these points, so
// two readers of one text could see different things. The error quotes nothing of the text.
func StrictObject(text []byte) (map[string]any, error) {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	value, err := strictValue(decoder)
	if err != nil {
		return nil, err
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, errors.New("text after the JSON value")
	}
	object, ok := value.(map[string]any)
	if !ok {
		return nil, errors.New("not a JSON object")
	}
	return object, nil
}

// strictValue reads the next value. It calls itself for each level of nesting, so the caller must bound the length of the text.
func strictValue(decoder *json.Decoder) (any, error) {
	token, err := decoder.Token()
	if err != nil {
		return nil, errors.New("not JSON")
	}
	switch token {
	case json.Delim('{'):
		return strictMembers(decoder)
	case json.Delim('['):
		list := []any{}
		for decoder.More() {
			value, err := strictValue(decoder)
			if err != nil {
				return nil, err
			}
			list = append(list, value)
		}
		_, err := decoder.Token()
		return list, err
	}
	return token, nil
}

// strictMembers reads the members of an object after its opening brace, and the closing brace.
func strictMembers(decoder *json.Decoder) (map[string]any, error) {
	object := make(map[string]any)
	for decoder.More() {
		token, err := decoder.Token()
		if err != nil {
			return nil, errors.New("not JSON")
		}
		name, ok := token.(string)
		if !ok {
			return nil, errors.New("not JSON")
		}
		if _, twice := object[name]; twice {
			return nil, errors.New("a name occurs twice")
		}
		if object[name], err = strictValue(decoder); err != nil {
			return nil, err
		}
	}
	_, err := decoder.Token()
	return object, err
}
