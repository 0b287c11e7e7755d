"""A FastAPI app that knows who asks. Run: uvicorn fastapi_app:app --host 127.0.0.1 --port 8000"""

from fastapi import Depends, FastAPI, Header, HTTPException

from statement import person

app = FastAPI()


def signed_in(x_postern_jwt: str = Header("")):
    claims = person(x_postern_jwt)
    if claims is None:
        raise HTTPException(401, "this did not come through the gateway")
    return claims


@app.get("/")
def home(claims: dict = Depends(signed_in)):
    return {"user": claims["sub"], "groups": claims["groups"]}
