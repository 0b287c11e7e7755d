"""A Streamlit app that knows who looks at it. Run: streamlit run streamlit_app.py --server.address 127.0.0.1

The statement is that of the request which opened the page's stream. It is read once: the gateway itself ends the
stream when the session ends.
"""

import streamlit as st

from statement import person

if "claims" not in st.session_state:
    st.session_state.claims = person(st.context.headers.get("X-Postern-Jwt", ""))
claims = st.session_state.claims
if claims is None:
    st.error("This did not come through the gateway.")
    st.stop()
st.title(f"Good day {claims['sub']}")
st.write("Groups: " + ", ".join(claims["groups"]))
